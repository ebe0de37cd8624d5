package org.eellm.eval.sweep;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.decode.LoadedModel;
import org.eellm.eval.Estimate;
import org.eellm.eval.sweep.Sweep.FreeRunning;
import org.eellm.eval.sweep.Sweep.Row;

/**
 * The rows of a sweep by name, those that failed or could not begin among them: as Markdown for
 * people, and as CSV for tools.
 */
public record SweepTable(Sweep sweep, List<Line> lines) {
  /** Of CSV; scores follow. */
  private static final String COLUMNS =
      "name,paper,options,note,speed_up,speed_up_least,speed_up_most,tokens_per_second,"
          + "tokens_per_pass,mean_layer,agreement,same_texts,lossless,perplexity,acceptance,"
          + "bytes,training_seconds,temperature,batch_size,context";

  private static final int FIGURES = 11;

  /**
   * A line.
   *
   * @param paper number at arXiv; empty for none
   * @param setting which may have a row; none where the model lacks what the method needs
   * @param note why there is no row; empty where there is one
   * @param cost beside the full model, where it is known
   */
  public record Line(
      String name,
      String paper,
      Optional<SweepSetting> setting,
      String note,
      Optional<MethodCost> cost) {

    /** A method that can be measured with a model. */
    public static Line of(ComparedMethod method, SweepSetting setting, LoadedModel model) {
      return new Line(
          method.toString(),
          method.paper(),
          Optional.of(setting),
          "",
          Optional.of(MethodCost.of(setting, model)));
    }

    /** A method without a setting. */
    public static Line without(ComparedMethod method, String note) {
      return new Line(method.toString(), method.paper(), Optional.empty(), note, Optional.empty());
    }

    private Line with(String other) {
      return new Line(name, paper, setting, other, cost);
    }

    /** Its name, with its paper behind it. */
    private String linked() {
      return paper.isEmpty()
          ? name
          : "%s ([%s](https://arxiv.org/abs/%s))".formatted(name, paper, paper);
    }
  }

  /** Those lines whose settings failed say why. */
  public SweepTable {
    lines = lines.stream().map(line -> explained(sweep, line)).toList();
  }

  /** Of settings that have no names but their labels. */
  public static SweepTable of(Sweep sweep) {
    return new SweepTable(
        sweep,
        Stream.concat(
                sweep.rows().stream().map(Row::setting),
                sweep.failures().stream().map(Sweep.Failure::setting))
            .map(
                setting ->
                    new Line(setting.label(), "", Optional.of(setting), "", Optional.empty()))
            .toList());
  }

  private static Line explained(Sweep sweep, Line line) {
    return sweep.failures().stream()
        .filter(failure -> line.setting().equals(Optional.of(failure.setting())))
        .findFirst()
        .map(failure -> line.with("failed: " + failure.reason()))
        .orElse(line);
  }

  private Optional<Row> row(Line line) {
    return line.setting().flatMap(setting -> Sweep.row(sweep.rows(), setting));
  }

  /** As pandas reads it: the full model, then the lines; empty cells where nothing is known. */
  public String csv() {
    StringBuilder text = new StringBuilder();
    SequencedMap<String, Estimate> full = sweep.fullScores();
    append(text, Stream.concat(Arrays.stream(COLUMNS.split(",", -1)), full.keySet().stream()));
    String one = speed(1);
    String perSecond = speed(sweep.fullTokensPerSecond());
    append(
        text,
        Stream.of(
                cells("full model", "", "--mode full", "", one, one, one, perSecond, 1.0, ""),
                cells(1.0, 1.0, true, sweep.fullPerplexity(), "", 0, 0.0),
                conditions(),
                scores(full))
            .flatMap(some -> some));
    for (Line line : lines) {
      Optional<Row> row = row(line);
      append(
          text,
          Stream.of(
                  cells(line.name, line.paper, line.setting.map(SweepSetting::options), line.note),
                  row.map(this::figures).orElseGet(() -> Stream.generate(() -> "").limit(FIGURES)),
                  cells(
                      line.cost.map(MethodCost::bytes),
                      line.cost.flatMap(MethodCost::trainingSeconds)),
                  conditions(),
                  row.map(of -> scores(of.scores()))
                      .orElseGet(() -> full.keySet().stream().map(_ -> "")))
              .flatMap(some -> some));
    }
    return text.toString();
  }

  private Stream<String> conditions() {
    SweepConditions all = sweep.conditions();
    return cells(all.temperature(), all.batchSize(), all.context() == 0 ? "" : all.context());
  }

  private Stream<String> figures(Row row) {
    return cells(
        speed(row.speedUp()),
        speed(row.spread().least()),
        speed(row.spread().most()),
        speed(row.tokensPerSecond()),
        row.tokensPerPass(),
        row.meanLayer(),
        row.agreement(),
        row.own().map(FreeRunning::same),
        row.own().map(texts -> texts.same() == 1),
        row.own().map(FreeRunning::perplexity),
        row.acceptance());
  }

  private static Stream<String> scores(SequencedMap<String, Estimate> scores) {
    return scores.values().stream().map(score -> String.valueOf(score.value()));
  }

  /** Values as text; of an optional one that there is not, none. */
  private static Stream<String> cells(Object... values) {
    return Arrays.stream(values)
        .map(
            value ->
                value instanceof Optional<?> maybe
                    ? maybe.map(Object::toString).orElse("")
                    : value.toString());
  }

  private String speed(double value) {
    return sweep.trusted() ? String.valueOf(value) : "";
  }

  /** A record of RFC 4180. */
  private static void append(StringBuilder text, Stream<String> cells) {
    text.append(
        cells
            .map(
                cell ->
                    cell.matches("(?s).*[\",\r\n].*")
                        ? '"' + cell.replace("\"", "\"\"") + '"'
                        : cell)
            .collect(Collectors.joining(",", "", "\n")));
  }

  /** The sweep's table by the lines' names, with why some have no row. */
  public String markdown() {
    StringBuilder text = new StringBuilder(sweep.markdown(this::name));
    lines.stream()
        .filter(line -> !line.note().isEmpty())
        .forEach(line -> text.append("\n- %s: %s\n".formatted(line.linked(), line.note())));
    return text.toString();
  }

  private String name(Row row) {
    return line(row).linked();
  }

  private Line line(Row row) {
    return lines.stream()
        .filter(line -> line.setting().equals(Optional.of(row.setting())))
        .findFirst()
        .orElseThrow();
  }

  /** A method's name; of other settings what those share that differ in a number only. */
  String family(Row row) {
    Line line = line(row);
    return line.paper().isEmpty() ? row.setting().family() : line.name();
  }

  /** A method's name; of other settings the numbers, if there are any. */
  String label(Row row) {
    String numbers = line(row).paper().isEmpty() ? row.setting().numbers() : "";
    return numbers.isEmpty() ? family(row) : numbers;
  }
}
