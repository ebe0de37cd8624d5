package org.eellm.eval.sweep;

import java.awt.Color;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.DoubleSummaryStatistics;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
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
import org.knowm.xchart.style.lines.SeriesLines;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The picture of a {@link Sweep}: speed-up against agreement, a dot a setting. */
public final class SweepPlot {
  /** Dots that may all have their numbers beside them; of more, only the best have. */
  private static final int LABELLED = 12;

  /** Room right of the dots, as a share of what they span. */
  private static final double MARGIN = 0.04;

  /** A letter's width and a line's height, as shares of the axes. */
  private static final double LETTER = 0.011;

  private static final double LINE = 0.035;

  private SweepPlot() {}

  /** Writes a PNG file. */
  public static void write(SweepTable table, Path picture) {
    Sweep sweep = table.sweep();
    List<Row> rows = sweep.rows();
    double least = rows.stream().mapToDouble(row -> 100 * row.agreement()).min().orElseThrow();
    double width = Math.max(1, 100 - least);
    double slowest = rows.stream().mapToDouble(row -> row.spread().least()).min().orElseThrow();
    double fastest = rows.stream().mapToDouble(row -> row.spread().most()).max().orElseThrow();
    double height = Math.max(0.05, Math.max(1, fastest) - Math.min(1, slowest));
    XYChart chart =
        Charts.chart(
            "What early exits gain and change",
            "tokens that are the full model's, %",
            "speed-up over the full model: median and range of %d rounds".formatted(sweep.rounds()),
            1000,
            620);
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setXAxisDecimalPattern("0.#");
    chart.getStyler().setYAxisDecimalPattern("0.0#");
    chart.getStyler().setXAxisMin(100 - width);
    chart.getStyler().setXAxisMax(100.0); // the chart leaves some room by itself
    families(table).forEach((name, some) -> add(chart, name, some));
    XYSeries full = chart.addSeries("full model", new double[] {100}, new double[] {1});
    full.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    full.setMarker(SeriesMarkers.DIAMOND).setMarkerColor(Color.BLACK);
    for (Row row : rows) {
      bar(
          chart,
          "spread " + row.setting().options(),
          new double[] {100 * row.agreement(), 100 * row.agreement()},
          new double[] {row.spread().least(), row.spread().most()});
    }
    label(chart, table, Row::speedUp, row -> 100 * row.agreement(), new double[] {width, height});
    Charts.png(chart, picture);
  }

  /**
   * Writes a PNG file for each score, {@code sweep-next-line-exact.png}: the score against the
   * speed-up, a dot a setting, with standard errors (EE-LLM, arXiv 2312.04916, figures 8 and 9).
   */
  public static void writeScores(SweepTable table, Path folder) {
    table
        .sweep()
        .fullScores()
        .forEach(
            (name, full) ->
                Charts.png(
                    scores(table, name, full),
                    folder.resolve("sweep-" + name.replaceAll("\\W+", "-") + ".png")));
  }

  private static XYChart scores(SweepTable table, String score, Estimate full) {
    Sweep sweep = table.sweep();
    XYChart chart =
        Charts.chart(score, "speed-up over the full model", "with standard errors", 1000, 620);
    chart.getStyler().setXAxisDecimalPattern("0.0#");
    chart.getStyler().setYAxisDecimalPattern("0.##");
    families(table)
        .forEach(
            (name, some) -> {
              XYSeries series =
                  chart.addSeries(
                      name,
                      some.stream().mapToDouble(Row::speedUp).toArray(),
                      some.stream().mapToDouble(row -> row.score(score).value()).toArray(),
                      some.stream().mapToDouble(row -> row.score(score).error()).toArray());
              style(chart, series, some);
            });
    XYSeries alone =
        chart.addSeries(
            "full model",
            new double[] {1},
            new double[] {full.value()},
            new double[] {full.error()});
    alone.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    alone.setMarker(SeriesMarkers.DIAMOND).setMarkerColor(Color.BLACK);
    label(
        chart,
        table,
        row -> row.score(score).value(),
        Row::speedUp,
        new double[] {span(sweep, Row::speedUp), span(sweep, row -> row.score(score).value())});
    return chart;
  }

  private static double span(Sweep sweep, ToDoubleFunction<Row> figure) {
    DoubleSummaryStatistics all = sweep.rows().stream().mapToDouble(figure).summaryStatistics();
    return Math.max(1e-6, all.getMax() - all.getMin());
  }

  /** A line without an entry in the legend. */
  private static void bar(XYChart chart, String name, double[] x, double[] y) {
    XYSeries bar = chart.addSeries(name, x, y);
    bar.setShowInLegend(false);
    bar.setMarker(SeriesMarkers.NONE);
    bar.setLineColor(Color.GRAY).setLineWidth(1).setLineStyle(SeriesLines.SOLID);
  }

  /** Where a label may stand, as shares of its width and of a line's height from its dot. */
  private static final double[][] PLACES = {
    {1, 0.6}, {-1, -0.6}, {-1, 0.6}, {1, -0.6}, {0, 1}, {0, -1}
  };

  /** A rectangle that a label may not lie on, by its middle, in shares of the axes. */
  private record Box(double x, double y, double width, double height) {
    boolean meets(Box other) {
      return Math.abs(x - other.x) < (width + other.width) / 2
          && Math.abs(y - other.y) < (height + other.height) / 2;
    }
  }

  /**
   * Puts settings' numbers beside their dots, the best ones first; what has no place off all dots
   * and labels is left out.
   *
   * @param spans of the axes
   */
  private static void label(
      XYChart chart,
      SweepTable table,
      ToDoubleFunction<Row> y,
      ToDoubleFunction<Row> x,
      double[] spans) {
    Sweep sweep = table.sweep();
    double rightmost = sweep.rows().stream().mapToDouble(x).max().orElseThrow() / spans[0] + MARGIN;
    List<Box> taken = new ArrayList<>();
    for (Row row : sweep.rows()) {
      taken.add(
          new Box(
              x.applyAsDouble(row) / spans[0], y.applyAsDouble(row) / spans[1], LETTER, LETTER));
    }
    sweep.rows().stream()
        .filter(row -> sweep.rows().size() <= LABELLED || sweep.isBest(row))
        .sorted(Comparator.comparing(row -> !sweep.isBest(row)))
        .forEach(
            row -> {
              String text = table.label(row);
              double width = LETTER * text.length();
              Arrays.stream(PLACES)
                  .map(
                      place ->
                          new Box(
                              x.applyAsDouble(row) / spans[0] + place[0] * (width / 2 + LETTER),
                              y.applyAsDouble(row) / spans[1] + place[1] * LINE,
                              width,
                              LINE))
                  .filter(box -> box.x() + width / 2 <= rightmost)
                  .filter(box -> taken.stream().noneMatch(box::meets))
                  .findFirst()
                  .ifPresent(
                      box -> {
                        taken.add(box);
                        chart.addAnnotation(
                            new AnnotationText(
                                text, box.x() * spans[0], box.y() * spans[1], false));
                      });
            });
  }

  private static Map<String, List<Row>> families(SweepTable table) {
    return table.sweep().rows().stream()
        .collect(Collectors.groupingBy(table::family, LinkedHashMap::new, Collectors.toList()));
  }

  private static void add(XYChart chart, String name, List<Row> some) {
    XYSeries series =
        chart.addSeries(
            name,
            some.stream().mapToDouble(row -> 100 * row.agreement()).toArray(),
            some.stream().mapToDouble(Row::speedUp).toArray());
    style(chart, series, some);
  }

  private static void style(XYChart chart, XYSeries series, List<Row> some) {
    series.setMarker(Charts.marker((chart.getSeriesMap().size() - 1) / Charts.COLOURS.size()));
    boolean speculates = some.getFirst().setting().mode() == DecodingMode.SPECULATIVE;
    series.setXYSeriesRenderStyle(
        speculates ? XYSeriesRenderStyle.Scatter : XYSeriesRenderStyle.Line);
  }
}
