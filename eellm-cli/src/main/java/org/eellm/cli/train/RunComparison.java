package org.eellm.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.config.ConfigFile;
import org.eellm.config.HeadId;
import org.eellm.eval.Charts;
import org.eellm.eval.Estimate;
import org.eellm.train.TrainException;
import org.eellm.train.metrics.MetricsFile;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * Validation losses of several runs side by side, and how often exits agree with the final head.
 * Folders of one path, apart from {@code -seed1}, {@code -seed2} and so on, are one row: its values
 * are means over the seeds.
 *
 * @param rows in the order they were given
 */
record RunComparison(List<Row> rows) {
  private static final Pattern SEEDED = Pattern.compile("(.*)-seed\\d+");
  private static final String LOSS = "validation_loss_";
  private static final String AGREEMENT = "validation_agreement_";

  /**
   * Of the steps, the share before the picture's first point: the fall from the start hides all.
   */
  private static final double UNDRAWN = 0.25;

  /**
   * One way to train.
   *
   * @param seeds how many runs
   * @param step of the last evaluation
   * @param losses of each head at that step, nats a token, with the standard error over seeds
   * @param agreements of each exit at that step: the share of tokens that it predicts as the final
   *     head does
   * @param againstFirst the final loss beside the first row's, as a share of it, mean of what runs
   *     of the same seed differ by
   */
  record Row(
      String name,
      int seeds,
      long step,
      SequencedMap<HeadId, Estimate> losses,
      SequencedMap<HeadId, Estimate> agreements,
      Estimate againstFirst,
      SequencedMap<Long, Estimate> curve) {}

  /**
   * A run's evaluations.
   *
   * @param losses of each head, by step
   * @param agreements of each head, by step
   */
  private record Run(
      long seed,
      SequencedMap<Long, SequencedMap<HeadId, Double>> losses,
      SequencedMap<Long, SequencedMap<HeadId, Double>> agreements) {
    double last() {
      return losses.lastEntry().getValue().lastEntry().getValue();
    }
  }

  /**
   * @param folders of runs
   * @throws TrainException if one has no evaluation, or runs of a row do not end at the same step
   */
  static RunComparison of(List<Path> folders) {
    SequencedMap<Path, List<Run>> groups = new LinkedHashMap<>();
    for (Path folder : folders) {
      groups.computeIfAbsent(withoutSeed(folder), _ -> new ArrayList<>()).add(read(folder));
    }
    List<Run> first = groups.firstEntry().getValue();
    List<Row> rows = new ArrayList<>();
    groups.forEach((path, runs) -> rows.add(row(name(path, groups.keySet()), runs, first)));
    return new RunComparison(List.copyOf(rows));
  }

  private static Path withoutSeed(Path folder) {
    Path path = folder.toAbsolutePath().normalize();
    Matcher seeded = SEEDED.matcher(path.getFileName().toString());
    return seeded.matches() ? path.resolveSibling(seeded.group(1)) : path;
  }

  /** The last part of a path; all of it where another has the same. */
  private static String name(Path path, Set<Path> all) {
    long alike =
        all.stream().filter(other -> other.getFileName().equals(path.getFileName())).count();
    return alike == 1 ? path.getFileName().toString() : path.toString();
  }

  private static Run read(Path folder) {
    Path metrics = folder.resolve("metrics.jsonl");
    List<JsonNode> lines = MetricsFile.read(metrics);
    SequencedMap<Long, SequencedMap<HeadId, Double>> losses = byHead(lines, LOSS);
    if (losses.isEmpty()) {
      throw new TrainException(
          metrics + ": has no validation loss; train with train.eval_interval above 0");
    }
    return new Run(
        ConfigFile.read(folder.resolve("config.yaml"), List.of()).train().seed(),
        losses,
        byHead(lines, AGREEMENT));
  }

  /** By step and head, the values of fields whose names begin with a prefix. */
  private static SequencedMap<Long, SequencedMap<HeadId, Double>> byHead(
      List<JsonNode> lines, String prefix) {
    SequencedMap<Long, SequencedMap<HeadId, Double>> values = new LinkedHashMap<>();
    for (JsonNode line : lines) {
      for (var value : line.properties()) {
        if (value.getKey().startsWith(prefix) && value.getValue().isNumber()) {
          values
              .computeIfAbsent(line.path("step").asLong(), _ -> new LinkedHashMap<>())
              .put(
                  HeadId.parse(value.getKey().substring(prefix.length())),
                  value.getValue().asDouble());
        }
      }
    }
    return values;
  }

  private static Row row(String name, List<Run> runs, List<Run> first) {
    long step = runs.getFirst().losses().lastEntry().getKey();
    for (Run run : runs) {
      if (run.losses().lastEntry().getKey() != step) {
        throw new TrainException(
            "%s: its runs end at steps %d and %d; let them all end first"
                .formatted(name, step, run.losses().lastEntry().getKey()));
      }
    }
    SequencedMap<Long, Estimate> curve = new LinkedHashMap<>();
    for (long at : runs.getFirst().losses().keySet()) {
      curve.put(
          at,
          Estimate.mean(
              runs.stream()
                  .filter(run -> run.losses().containsKey(at))
                  .mapToDouble(run -> run.losses().get(at).lastEntry().getValue())
                  .toArray()));
    }
    SequencedMap<HeadId, Estimate> agreements = means(runs, step, Run::agreements);
    agreements.remove(HeadId.FINAL);
    return new Row(
        name,
        runs.size(),
        step,
        means(runs, step, Run::losses),
        agreements,
        against(runs, first),
        curve);
  }

  /** Each head's mean over the runs at a step, of the heads that all of them have. */
  private static SequencedMap<HeadId, Estimate> means(
      List<Run> runs, long step, Function<Run, Map<Long, SequencedMap<HeadId, Double>>> values) {
    List<SequencedMap<HeadId, Double>> atStep =
        runs.stream()
            .map(run -> values.apply(run).getOrDefault(step, new LinkedHashMap<>()))
            .toList();
    SequencedMap<HeadId, Estimate> means = new LinkedHashMap<>();
    for (HeadId head : atStep.getFirst().keySet()) {
      if (atStep.stream().allMatch(heads -> heads.containsKey(head))) {
        means.put(
            head,
            Estimate.mean(
                atStep.stream().mapToDouble(heads -> heads.getOrDefault(head, 0.0)).toArray()));
      }
    }
    return means;
  }

  /** Seeds that both have are compared one by one; without any, the means are. */
  private static Estimate against(List<Run> runs, List<Run> first) {
    Map<Long, Double> base = new TreeMap<>();
    first.forEach(run -> base.put(run.seed(), run.last()));
    double[] pairs =
        runs.stream()
            .filter(run -> base.containsKey(run.seed()))
            .mapToDouble(run -> run.last() / base.getOrDefault(run.seed(), Double.NaN) - 1)
            .toArray();
    if (pairs.length > 0) {
      return Estimate.mean(pairs);
    }
    double mean = runs.stream().mapToDouble(Run::last).average().orElseThrow();
    double firsts = first.stream().mapToDouble(Run::last).average().orElseThrow();
    return new Estimate(mean / firsts - 1, Double.NaN);
  }

  /** As Markdown. */
  String table() {
    List<HeadId> heads = heads(Row::losses);
    List<HeadId> exits = heads(Row::agreements);
    StringBuilder text = new StringBuilder("| run | seeds | step |");
    heads.forEach(head -> text.append(" %s |".formatted(head.label())));
    exits.forEach(exit -> text.append(" %s agrees |".formatted(exit.label())));
    text.append(" final beside the first row |\n|---|---|---|")
        .append("---|".repeat(heads.size() + exits.size()))
        .append("---|\n");
    for (Row row : rows) {
      text.append("| %s | %d | %,d |".formatted(row.name(), row.seeds(), row.step()));
      for (HeadId head : heads) {
        text.append(cell(row.losses(), head, loss -> loss.text("%.3f"::formatted)));
      }
      for (HeadId exit : exits) {
        text.append(cell(row.agreements(), exit, share -> percent(share, "", 1)));
      }
      text.append(
          row == rows.getFirst()
              ? " |\n"
              : " %s |\n".formatted(percent(row.againstFirst(), "+", 2)));
    }
    return text.toString();
  }

  /** The heads of which some row has a value. */
  private List<HeadId> heads(Function<Row, Map<HeadId, Estimate>> values) {
    return rows.stream()
        .flatMap(row -> values.apply(row).keySet().stream())
        .distinct()
        .sorted()
        .toList();
  }

  private static String cell(
      Map<HeadId, Estimate> values, HeadId head, Function<Estimate, String> text) {
    return Optional.ofNullable(values.get(head)).map(text).map(" %s |"::formatted).orElse(" |");
  }

  /**
   * @param sign of positive values, if any
   */
  private static String percent(Estimate share, String sign, int places) {
    String number = "%%.%df".formatted(places);
    double error = 100 * share.standardError();
    return ("%" + sign + number.substring(1)).formatted(100 * share.value())
        + (Double.isNaN(error) ? "" : " ± " + number.formatted(error))
        + " %";
  }

  /** Draws the final head's validation loss over the steps, a line a row, as a PNG file. */
  void draw(Path picture) {
    XYChart chart =
        Charts.chart(
            "Validation loss of the final head",
            "step",
            "cross entropy, nats per token",
            1000,
            620);
    chart.getStyler().setXAxisDecimalPattern("#,##0");
    chart.getStyler().setYAxisDecimalPattern("0.0##");
    for (Row row : rows) {
      List<Map.Entry<Long, Estimate>> drawn =
          row.curve().entrySet().stream()
              .filter(point -> point.getKey() >= UNDRAWN * row.step())
              .toList();
      XYSeries line =
          chart.addSeries(
              row.seeds() == 1 ? row.name() : "%s, %d seeds".formatted(row.name(), row.seeds()),
              drawn.stream().mapToDouble(Map.Entry::getKey).toArray(),
              drawn.stream().mapToDouble(point -> point.getValue().value()).toArray(),
              drawn.stream().mapToDouble(point -> point.getValue().error()).toArray());
      line.setMarker(SeriesMarkers.CIRCLE);
    }
    Charts.png(chart, picture);
  }
}
