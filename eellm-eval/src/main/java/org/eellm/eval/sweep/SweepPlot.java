package org.eellm.eval.sweep;

import java.awt.Color;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.eellm.decode.request.DecodingMode;
import org.eellm.eval.Charts;
import org.eellm.eval.Estimate;
import org.eellm.eval.sweep.Sweep.Row;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The picture of a {@link Sweep}: speed-up against agreement, a dot a setting. */
public final class SweepPlot {
  /** Dots that may all have their numbers beside them; of more, only the best have. */
  private static final int LABELLED = 12;

  /** Room left and right of the dots, as a share of what they span. */
  private static final double MARGIN = 0.05;

  private SweepPlot() {}

  /** Writes a PNG file. */
  public static void write(Sweep sweep, Path picture) {
    List<Row> rows = sweep.rows();
    double least = rows.stream().mapToDouble(row -> 100 * row.agreement()).min().orElseThrow();
    double width = Math.max(1, 100 - least);
    double slowest = rows.stream().mapToDouble(Row::speedUp).min().orElseThrow();
    double fastest = rows.stream().mapToDouble(Row::speedUp).max().orElseThrow();
    double height = fastest - slowest;
    XYChart chart =
        Charts.chart(
            "What early exits gain and change",
            "tokens that are the full model's, %",
            "speed-up over the full model",
            1000,
            620);
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setXAxisDecimalPattern("0.#");
    chart.getStyler().setYAxisDecimalPattern("0.0#");
    chart.getStyler().setXAxisMin(least - MARGIN * width);
    chart.getStyler().setXAxisMax(100 + 2 * MARGIN * width);
    families(sweep).forEach((name, some) -> add(chart, name, some));
    XYSeries full = chart.addSeries("full model", new double[] {100}, new double[] {1});
    full.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    full.setMarker(SeriesMarkers.DIAMOND).setMarkerColor(Color.BLACK);
    for (Row row : rows) {
      if (rows.size() <= LABELLED || sweep.isBest(row)) {
        double aboveTheDot = row.speedUp() + MARGIN / 2 * height;
        chart.addAnnotation(
            new AnnotationText(row.setting().numbers(), 100 * row.agreement(), aboveTheDot, false));
      }
    }
    Charts.png(chart, picture);
  }

  /**
   * Writes a PNG file for each score, {@code sweep-next-line-exact.png}: the score against the
   * speed-up, a dot a setting, with standard errors (EE-LLM, arXiv 2312.04916, figures 8 and 9).
   */
  public static void writeScores(Sweep sweep, Path folder) {
    sweep
        .fullScores()
        .forEach(
            (name, full) ->
                Charts.png(
                    scores(sweep, name, full),
                    folder.resolve("sweep-" + name.replaceAll("\\W+", "-") + ".png")));
  }

  private static XYChart scores(Sweep sweep, String score, Estimate full) {
    XYChart chart =
        Charts.chart(score, "speed-up over the full model", "with standard errors", 1000, 620);
    chart.getStyler().setXAxisDecimalPattern("0.0#");
    chart.getStyler().setYAxisDecimalPattern("0.##");
    families(sweep)
        .forEach(
            (name, some) -> {
              XYSeries series =
                  chart.addSeries(
                      name,
                      some.stream().mapToDouble(Row::speedUp).toArray(),
                      some.stream().mapToDouble(row -> row.score(score).value()).toArray(),
                      some.stream().mapToDouble(row -> row.score(score).standardError()).toArray());
              style(series, some);
            });
    XYSeries alone =
        chart.addSeries(
            "full model",
            new double[] {1},
            new double[] {full.value()},
            new double[] {full.standardError()});
    alone.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    alone.setMarker(SeriesMarkers.DIAMOND).setMarkerColor(Color.BLACK);
    List<Row> rows = sweep.rows();
    double above =
        MARGIN / 2 * rows.stream().mapToDouble(row -> row.score(score).value()).max().orElse(0);
    for (Row row : rows) {
      if (rows.size() <= LABELLED || sweep.isBest(row)) {
        double value = row.score(score).value();
        chart.addAnnotation(
            new AnnotationText(row.setting().numbers(), row.speedUp(), value + above, false));
      }
    }
    return chart;
  }

  private static Map<String, List<Row>> families(Sweep sweep) {
    return sweep.rows().stream()
        .collect(
            Collectors.groupingBy(
                row -> row.setting().family(), LinkedHashMap::new, Collectors.toList()));
  }

  private static void add(XYChart chart, String name, List<Row> some) {
    XYSeries series =
        chart.addSeries(
            name,
            some.stream().mapToDouble(row -> 100 * row.agreement()).toArray(),
            some.stream().mapToDouble(Row::speedUp).toArray());
    style(series, some);
  }

  private static void style(XYSeries series, List<Row> some) {
    series.setMarker(SeriesMarkers.CIRCLE);
    boolean speculates = some.getFirst().setting().mode() == DecodingMode.SPECULATIVE;
    series.setXYSeriesRenderStyle(
        speculates ? XYSeriesRenderStyle.Scatter : XYSeriesRenderStyle.Line);
  }
}
