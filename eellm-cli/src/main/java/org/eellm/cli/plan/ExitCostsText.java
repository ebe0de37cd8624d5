package org.eellm.cli.plan;

import java.awt.Color;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import org.eellm.cost.plan.ExitCosts.Row;
import org.eellm.cost.plan.Plan;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;

/** What exits cost in training, as a table and a plot. */
final class ExitCostsText {
  private static final double GIB = 1L << 30;

  private ExitCostsText() {}

  /** Prints the table in Markdown. */
  static void print(List<Row> rows, PrintWriter out) {
    Row bare = rows.getFirst();
    out.println(PlanText.title(bare.onStageBefore()));
    out.println();
    out.println(
        "| exits after layers | step | on the stage behind | fullest rank | on the stage behind |"
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
        new XYChartBuilder()
            .width(900)
            .height(450)
            .title(PlanText.title(rows.getFirst().onStageBefore()))
            .xAxisTitle("exits")
            .yAxisTitle("% more than without exits")
            .build();
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setXAxisMax((double) rows.size() - 1).setXAxisMin(0.0);
    series(chart, "time", rows, row -> seconds(row.onStageBefore()));
    series(chart, "time, on the stage behind", rows, row -> seconds(row.onStageBehind()));
    series(chart, "memory", rows, row -> bytes(row.onStageBefore()));
    series(chart, "memory, on the stage behind", rows, row -> bytes(row.onStageBehind()));
    series(chart, "memory, heads in the forward pass", rows, Row::eagerBytes);
    try {
      BitmapEncoder.saveBitmap(chart, picture.toString(), BitmapFormat.PNG);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void series(
      XYChart chart, String name, List<Row> rows, ToDoubleFunction<Row> figure) {
    double[] exits = rows.stream().mapToDouble(row -> row.exits().size()).toArray();
    double[] more =
        rows.stream().mapToDouble(row -> percent(row, rows.getFirst(), figure)).toArray();
    chart.addSeries(name, exits, more);
  }
}
