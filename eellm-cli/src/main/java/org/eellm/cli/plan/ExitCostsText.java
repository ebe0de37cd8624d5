package org.eellm.cli.plan;

import java.awt.Color;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.eellm.cost.plan.ExitCosts.Row;
import org.eellm.cost.plan.Plan;
import org.eellm.eval.Charts;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The costs of exits in training, as a table and a plot. */
final class ExitCostsText {
  private static final double GIB = 1L << 30;

  private ExitCostsText() {}

  /** Prints the table in Markdown. */
  static void print(List<Row> rows, PrintWriter out) {
    Row bare = rows.getFirst();
    out.println(PlanText.title(bare.onStageBefore()));
    out.println();
    out.println(
        "| exits after layers | step | on the next stage | fullest rank | on the next stage |"
            + " heads in the forward pass |");
    out.println("|---|---|---|---|---|---|");
    for (Row row : rows) {
      out.printf(
          Locale.ROOT,
          "| %s | %s | %s | %s | %s | %s |%n",
          row.exits().isEmpty()
              ? "none"
              : row.exits().stream().map(String::valueOf).collect(Collectors.joining(", ")),
          cell(row, bare, r -> seconds(r.onStageBefore()), "%.2f s"),
          cell(row, bare, r -> seconds(r.onStageBehind()), "%.2f s"),
          cell(row, bare, r -> bytes(r.onStageBefore()) / GIB, "%.1f GiB"),
          cell(row, bare, r -> bytes(r.onStageBehind()) / GIB, "%.1f GiB"),
          cell(row, bare, r -> r.eagerBytes() / GIB, "%.1f GiB"));
    }
    out.flush();
  }

  private static String cell(Row row, Row bare, ToDoubleFunction<Row> figure, String format) {
    String value = format.formatted(figure.applyAsDouble(row));
    return row == bare ? value : "%s (%+.1f %%)".formatted(value, percent(row, bare, figure));
  }

  private static double percent(Row row, Row bare, ToDoubleFunction<Row> figure) {
    return 100 * (figure.applyAsDouble(row) / figure.applyAsDouble(bare) - 1);
  }

  private static double seconds(Plan plan) {
    return plan.time().total();
  }

  private static double bytes(Plan plan) {
    return plan.fullest().memory().total();
  }

  /** Draws what exits add, in percent of the model without any. */
  static void plot(List<Row> rows, Path picture) {
    XYChart chart =
        Charts.chart(
            PlanText.mesh(rows.getFirst().onStageBefore()),
            "number of exits",
            "% more than without exits",
            900,
            450);
    chart.getStyler().setXAxisMin(0.0).setXAxisMax((double) rows.size() - 1);
    chart.getStyler().setXAxisTickMarkSpacingHint(900 / rows.size()); // whole numbers alone
    chart.getStyler().setXAxisDecimalPattern("0");
    Color time = Charts.COLOURS.get(0);
    Color memory = Charts.COLOURS.get(1);
    series(chart, "time", rows, row -> seconds(row.onStageBefore()), time);
    series(chart, "memory", rows, row -> bytes(row.onStageBefore()), memory);
    next(series(chart, "time, on the next stage", rows, row -> seconds(row.onStageBehind()), time));
    next(
        series(
            chart, "memory, on the next stage", rows, row -> bytes(row.onStageBehind()), memory));
    series(chart, "memory, heads in the forward pass", rows, Row::eagerBytes, Color.BLACK);
    Charts.png(chart, picture);
  }

  private static void next(XYSeries series) {
    series.setMarker(SeriesMarkers.SQUARE).setLineStyle(Charts.DASHED);
  }

  private static XYSeries series(
      XYChart chart, String name, List<Row> rows, ToDoubleFunction<Row> figure, Color colour) {
    double[] exits = rows.stream().mapToDouble(row -> row.exits().size()).toArray();
    double[] more =
        rows.stream().mapToDouble(row -> percent(row, rows.getFirst(), figure)).toArray();
    XYSeries series = chart.addSeries(name, exits, more);
    series.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(colour).setLineColor(colour);
    return series;
  }
}
