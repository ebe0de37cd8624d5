package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.decode.LoadedModel;
import org.eellm.eval.Estimate;
import org.eellm.eval.sweep.Sweep.FreeRunning;
import org.eellm.eval.sweep.Sweep.Row;

/**
 * The rows of a sweep by name: of methods as Markdown for people, and of any settings as CSV for
 * tools, a line for each and numbers in full.
 */
public record SweepTable(Sweep sweep, List<Line> lines) {
  private static final List<String> COLUMNS =
      List.of(
          "name",
          "paper",
          "options",
          "speed_up",
          "speed_up_least",
          "speed_up_most",
          "tokens_per_second",
          "tokens_per_pass",
          "mean_layer",
          "agreement",
          "same_texts",
          "lossless",
          "perplexity",
          "acceptance",
          "extra_bytes",
          "note");

  /**
   * A line.
   *
   * @param paper number at arXiv; empty for none
   * @param setting which may have a row; none where the model lacks what the method needs
   * @param extraBytes of the file beside the model that it needs; 0 for none
   * @param note why there is no row; empty where there is one
   */
  public record Line(
      String name, String paper, Optional<SweepSetting> setting, long extraBytes, String note) {

    /** A method that can be measured. */
    public static Line of(ComparedMethod method, SweepSetting setting, LoadedModel model) {
      return new Line(
          method.toString(), method.paper(), Optional.of(setting), method.need().bytes(model), "");
    }

    /** A method without a setting. */
    public static Line without(ComparedMethod method, String note) {
      return new Line(method.toString(), method.paper(), Optional.empty(), 0, note);
    }

    private Line with(String other) {
      return new Line(name, paper, setting, extraBytes, other);
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
            .map(setting -> new Line(setting.label(), "", Optional.of(setting), 0, ""))
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

  /** Whether all texts that a setting wrote by itself are the full model's, if it wrote some. */
  private static Optional<Boolean> lossless(Row row) {
    return row.own().map(texts -> texts.same() == 1);
  }

  /** As pandas reads it: the full model, then the lines; empty cells where nothing is known. */
  public String csv() {
    List<String> scores = List.copyOf(sweep.fullScores().keySet());
    StringBuilder text = new StringBuilder();
    append(text, Stream.concat(COLUMNS.stream(), scores.stream()));
    append(
        text,
        Stream.concat(
            Stream.of(
                "full model",
                "",
                "--mode full",
                speed(1),
                speed(1),
                speed(1),
                speed(sweep.fullTokensPerSecond()),
                "1.0",
                "",
                "1.0",
                "1.0",
                "true",
                sweep.fullPerplexity().map(String::valueOf).orElse(""),
                "",
                "",
                ""),
            sweep.fullScores().values().stream().map(score -> String.valueOf(score.value()))));
    for (Line line : lines) {
      Stream<String> figures =
          row(line)
              .map(this::figures)
              .orElseGet(() -> Stream.generate(() -> "").limit(COLUMNS.size() - 5));
      Stream<String> scored =
          row(line)
              .map(row -> row.scores().values().stream().map(Estimate::value).map(String::valueOf))
              .orElseGet(() -> scores.stream().map(_ -> ""));
      append(
          text,
          Stream.of(
                  Stream.of(
                      line.name(),
                      line.paper(),
                      line.setting().map(SweepSetting::options).orElse("")),
                  figures,
                  Stream.of(
                      line.extraBytes() == 0 ? "" : String.valueOf(line.extraBytes()),
                      line.note()),
                  scored)
              .flatMap(some -> some));
    }
    return text.toString();
  }

  private Stream<String> figures(Row row) {
    return Stream.of(
        speed(row.speedUp()),
        speed(row.spread().least()),
        speed(row.spread().most()),
        speed(row.tokensPerSecond()),
        String.valueOf(row.tokensPerPass()),
        String.valueOf(row.meanLayer()),
        String.valueOf(row.agreement()),
        row.own().map(FreeRunning::same).map(String::valueOf).orElse(""),
        lossless(row).map(String::valueOf).orElse(""),
        row.own().map(FreeRunning::perplexity).map(String::valueOf).orElse(""),
        row.acceptance().map(String::valueOf).orElse(""));
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

  /**
   * A table of methods.
   *
   * @param leastAgreement that thresholds were chosen by
   */
  public String markdown(double leastAgreement) {
    List<String> columns =
        List.of(
            "", "method", "paper", "speed-up", "tokens a pass", "mean layer", "agreement",
            "same texts", "lossless", "perplexity", "extra MB");
    StringBuilder text = new StringBuilder();
    List<String> scores = List.copyOf(sweep.fullScores().keySet());
    line(text, Stream.concat(columns.stream(), scores.stream()));
    text.append("|---|---|---|")
        .append("---:|".repeat(columns.size() - 3 + scores.size()))
        .append('\n');
    for (Line line : lines) {
      row(line).ifPresent(row -> line(text, cells(line, row)));
    }
    text.append(sweep.footer())
        .append(
            """
            Policies with thresholds have the laxest ones that keep %.0f %% of these tokens. Lossless: all %d texts that the
            method wrote by itself are the full model's.
            """
                .formatted(100 * leastAgreement, sweep.prompts()));
    List<Line> others = lines.stream().filter(line -> !line.note().isEmpty()).toList();
    if (!others.isEmpty()) {
      text.append('\n');
      others.forEach(
          line -> text.append("- %s (%s): %s\n".formatted(line.name(), line.paper(), line.note())));
    }
    return text.toString();
  }

  private Stream<String> cells(Line line, Row row) {
    List<String> cells = new ArrayList<>();
    cells.add(sweep.trusted() && sweep.isBest(row) ? "*" : "");
    cells.add(line.name());
    cells.add("[%s](https://arxiv.org/abs/%s)".formatted(line.paper(), line.paper()));
    cells.add(sweep.speedUp(row));
    cells.add("%.2f".formatted(row.tokensPerPass()));
    cells.add("%.2f".formatted(row.meanLayer()));
    cells.add("%.1f %%".formatted(100 * row.agreement()));
    cells.add(row.own().map(texts -> "%.0f %%".formatted(100 * texts.same())).orElse(""));
    cells.add(lossless(row).map(same -> same ? "yes" : "no").orElse(""));
    cells.add(row.own().map(texts -> "%.2f".formatted(texts.perplexity())).orElse(""));
    cells.add(line.extraBytes() == 0 ? "" : "%.2f".formatted(line.extraBytes() / 1e6));
    return Stream.concat(cells.stream(), row.scores().values().stream().map(Sweep::text));
  }

  private static void line(StringBuilder text, Stream<String> cells) {
    text.append(cells.collect(Collectors.joining(" | ", "| ", " |\n")));
  }
}
