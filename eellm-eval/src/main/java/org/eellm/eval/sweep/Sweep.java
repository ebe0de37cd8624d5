package org.eellm.eval.sweep;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.annotation.JsonProperty;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Function;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.config.setting.RecordCopy;
import org.eellm.eval.Estimate;

/**
 * The gains of ways to decode and the changes that they make, beside the full model.
 *
 * @param conditions of the texts
 * @param prompts number of texts
 * @param tokens of all texts, prompts not counted
 * @param rounds times that each speed was measured
 * @param warmUpRounds before them, which do not count
 * @param fullTokensPerSecond of the full model, whose exits are not computed
 * @param fullPerplexity of the full model's own texts, to itself; absent where no setting wrote own
 *     texts
 * @param fullScores the full model's, by task and metric
 * @param rows one for each setting that could be measured, in the order given
 * @param failures the other settings
 */
public record Sweep(
    SweepConditions conditions,
    int prompts,
    int tokens,
    int rounds,
    int warmUpRounds,
    double fullTokensPerSecond,
    Optional<Double> fullPerplexity,
    SequencedMap<String, Estimate> fullScores,
    List<Row> rows,
    List<Failure> failures) {

  /**
   * A setting that could not be measured.
   *
   * @param cause for those who want more than its reason
   */
  public record Failure(SweepSetting setting, @JsonIgnore RuntimeException cause) {

    /** Why, in a line. */
    @JsonProperty
    public String reason() {
      return Objects.requireNonNullElse(cause.getMessage(), cause.toString());
    }
  }

  /**
   * A setting.
   *
   * @param shares of the tokens that left at each head, shallowest first
   * @param meanLayer that tokens left after
   * @param tokensPerSecond of all texts at a time, without the time that the full model takes to
   *     the first token: median of the rounds
   * @param speedUp over the full model in the same round: median of the rounds
   * @param spread of the speed-up in single rounds, within which it lies
   * @param tokensPerPass tokens that one pass of the full model yields, accepted drafts and its
   *     own; 1 where tokens leave early
   * @param control of these rounds
   * @param agreement share of the tokens that are the full model's, given its text before them
   * @param acceptance share of drafted tokens that the full model confirmed, if any were drafted
   * @param own what became of texts that this setting wrote by itself, if it did
   * @param scores by task and metric
   */
  public record Row(
      SweepSetting setting,
      SequencedMap<HeadId, Double> shares,
      double meanLayer,
      double tokensPerSecond,
      double speedUp,
      Spread spread,
      double tokensPerPass,
      Control control,
      double agreement,
      Optional<Double> acceptance,
      Optional<FreeRunning> own,
      SequencedMap<String, Estimate> scores) {

    public Row {
      shares = Collections.unmodifiableSequencedMap(shares);
      scores = Collections.unmodifiableSequencedMap(scores);
    }

    /** In a line: {@code threshold 0.9: speed-up 1.21 (1.18 to 1.25), agreement 99.5 %}. */
    public String line() {
      return "%s: speed-up %.2f (%s), agreement %s"
          .formatted(setting.label(), speedUp, spread, percent(agreement, 1));
    }

    /** A score that there is. */
    Estimate score(String name) {
      return Objects.requireNonNull(scores.get(name), name);
    }

    /** A copy with what became of its own texts, and its scores. */
    public Row with(FreeRunning texts, SequencedMap<String, Estimate> byTask) {
      return RecordCopy.with(this, Map.of("own", Optional.of(texts), "scores", byTask));
    }
  }

  /** Speed-ups of single rounds, from the smallest to the largest. */
  public record Spread(double least, double most) {
    static Spread of(double... rounds) {
      return new Spread(
          Arrays.stream(rounds).min().orElseThrow(), Arrays.stream(rounds).max().orElseThrow());
    }

    @Override
    public String toString() {
      return "%.2f to %.2f".formatted(least, most);
    }
  }

  /**
   * The figures of early exits at threshold 1, which do just what the full model does: how far its
   * speed-up is from 1 is how far all others may be off.
   *
   * @param speedUp median of the rounds
   * @param spread of it in single rounds
   * @param fullTokensPerSecond of the full model: median of the same rounds
   */
  public record Control(double speedUp, Spread spread, double fullTokensPerSecond) {
    /** The deviation that is always allowed: no machine is that even. */
    private static final double TOLERANCE = 0.05;

    /** What is allowed where rounds differ more: medians of the others may be as far off. */
    private static final double MOST = 0.1;

    /** Rounds that differ more say that something else ran. */
    private static final double WIDEST = 1.5;

    /** Whether speed-ups that were measured in the same rounds mean anything. */
    public boolean holds() {
      double within = Math.clamp((spread.most() - spread.least()) / 2, TOLERANCE, MOST);
      return Math.abs(speedUp - 1) <= within && spread.most() <= WIDEST * spread.least();
    }
  }

  /**
   * Texts that a setting wrote by itself.
   *
   * @param same share of them that are the full model's from beginning to end
   * @param perplexity of them to the full model
   */
  public record FreeRunning(double same, double perplexity) {}

  public Sweep {
    fullScores = Collections.unmodifiableSequencedMap(fullScores);
    rows = List.copyOf(rows);
    failures = List.copyOf(failures);
  }

  /**
   * A copy with the full model's scores, where settings have some.
   *
   * @param perplexity of the full model's own texts, to itself
   */
  Sweep with(double perplexity, SequencedMap<String, Estimate> scores) {
    return RecordCopy.with(
        this, Map.of("fullPerplexity", Optional.of(perplexity), "fullScores", scores));
  }

  /** Whether speed-ups mean anything: the machine was not busy with other things. */
  @JsonProperty
  public boolean trusted() {
    return distrust().isEmpty();
  }

  /** Why speed-ups mean nothing, in a sentence. */
  public Optional<String> distrust() {
    return rows.stream()
        .map(Row::control)
        .filter(control -> !control.holds())
        .findFirst()
        .map(
            control ->
                "No speed-ups: the machine was busy. At threshold 1.0, where nothing leaves early, the speed-up was %.2f (%s). Measure again on a quiet machine, or with more tokens."
                    .formatted(control.speedUp(), control.spread()));
  }

  /** A speed in a table, or a dash where it means nothing. */
  public String speed(String format, double value) {
    return trusted() ? format.formatted(value) : "–";
  }

  /** A row's speed-up and its spread, or a dash where they mean nothing. */
  public String speedUp(Row row) {
    return trusted() ? "%.2f (%s)".formatted(row.speedUp(), row.spread()) : "–";
  }

  /** How speeds came about, in a sentence. */
  public String method() {
    return "Speeds and speed-ups: medians of %d %s in which settings and full model took turns; in brackets the slowest and the fastest. %d before them did not count."
        .formatted(rounds, rounds == 1 ? "round" : "rounds", warmUpRounds);
  }

  /** Whether no other row is faster and agrees no less, or agrees more and is no slower. */
  public boolean isBest(Row row) {
    return rows.stream()
        .noneMatch(
            other ->
                other.speedUp() >= row.speedUp()
                    && other.agreement() >= row.agreement()
                    && (other.speedUp() > row.speedUp() || other.agreement() > row.agreement()));
  }

  /** The last row of a setting, if there is one. */
  static Optional<Row> row(List<Row> rows, SweepSetting setting) {
    return rows.stream().filter(row -> row.setting().equals(setting)).reduce((_, last) -> last);
  }

  /** The fastest row that agrees at least this much. */
  public Optional<Row> fastest(double leastAgreement) {
    return rows.stream()
        .filter(row -> row.agreement() >= leastAgreement)
        .max(Comparator.comparingDouble(Row::speedUp));
  }

  /** The row that agrees most among those that are at least this fast. */
  public Optional<Row> mostAgreeing(double leastSpeedUp) {
    return rows.stream()
        .filter(row -> row.speedUp() >= leastSpeedUp)
        .max(Comparator.comparingDouble(Row::agreement));
  }

  /**
   * A table with a row for each setting; the best ones, of {@link #isBest}, have a star.
   *
   * @param name of rows
   */
  String markdown(Function<Row, String> name) {
    List<HeadId> heads = List.copyOf(rows.getFirst().shares().keySet());
    List<String> tasks = List.copyOf(fullScores.keySet());
    boolean drafts = rows.stream().anyMatch(row -> row.acceptance().isPresent());
    boolean own = fullPerplexity.isPresent();
    StringBuilder text = new StringBuilder();
    List<String> figures =
        Stream.of(
                Stream.of("tokens/s", "speed-up", "agreement", "mean layer"),
                heads.stream().map(HeadId::label),
                drafts ? Stream.of("accepted", "tokens a pass") : Stream.<String>empty(),
                own ? Stream.of("same texts", "perplexity") : Stream.<String>empty(),
                tasks.stream())
            .flatMap(some -> some)
            .toList();
    line(text, Stream.of(Stream.of("", "setting"), figures.stream()));
    text.append("|---|---|").append("---:|".repeat(figures.size())).append('\n');
    HeadId last = heads.getLast();
    line(
        text,
        Stream.of(
            Stream.of("", "full model", speed("%,.0f", fullTokensPerSecond), "1.00", "100.0 %"),
            Stream.of(""),
            heads.stream().map(head -> head.equals(last) ? "100 %" : ""),
            drafts ? Stream.of("", "1.00") : Stream.<String>empty(),
            fullPerplexity.stream().flatMap(value -> Stream.of("100 %", "%.2f".formatted(value))),
            fullScores.values().stream().map(Sweep::text)));
    for (Row row : rows) {
      line(
          text,
          Stream.of(
              Stream.of(
                  trusted() && isBest(row) ? "*" : "",
                  name.apply(row),
                  speed("%,.0f", row.tokensPerSecond()),
                  speedUp(row),
                  percent(row.agreement(), 1),
                  "%.2f".formatted(row.meanLayer())),
              row.shares().values().stream().map(share -> percent(share, 0)),
              drafts
                  ? Stream.of(
                      row.acceptance().map(share -> percent(share, 0)).orElse(""),
                      "%.2f".formatted(row.tokensPerPass()))
                  : Stream.<String>empty(),
              row.own().stream()
                  .flatMap(
                      texts ->
                          Stream.of(
                              percent(texts.same(), 0), "%.2f".formatted(texts.perplexity()))),
              row.scores().values().stream().map(Sweep::text)));
    }
    return text.append(
            """

            Measured on the full model's own %,d tokens after %,d prompts, %s, without the time that the
            full model takes to the first token. %s
            A setting agrees where its token, given the full model's text before it, is the full model's. A star: no other setting is
            faster and agrees no less.
            """
                .formatted(tokens, prompts, conditions.words(), method()))
        .append(distrust().map(reason -> "\n" + reason + "\n").orElse(""))
        .toString();
  }

  private static void line(StringBuilder text, Stream<Stream<String>> cells) {
    text.append('|');
    cells.flatMap(some -> some).forEach(cell -> text.append(' ').append(cell).append(" |"));
    text.append('\n');
  }

  private static String text(Estimate score) {
    return score.text("%.4f"::formatted);
  }

  private static String percent(double share, int places) {
    return ("%." + places + "f %%").formatted(100 * share);
  }
}
