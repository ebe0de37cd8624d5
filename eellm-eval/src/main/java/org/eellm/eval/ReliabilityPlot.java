package org.eellm.eval;

import java.awt.Color;
import java.nio.file.Path;
import java.util.List;
import org.eellm.eval.ExitTrace.Bin;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Reliability diagrams: how often exits agree with the full model, by confidence. */
public final class ReliabilityPlot {
  /** Of fewer tokens a share says little; they have no dot. */
  private static final int FEWEST = 20;

  private ReliabilityPlot() {}

  /**
   * Writes a PNG file.
   *
   * @param plain of the exits as they are
   * @param tempered of the exits at their temperatures; the same as {@code plain} if there are none
   */
  public static void write(ExitTrace plain, ExitTrace tempered, Path picture) {
    XYChart chart =
        Charts.chart(
            "Reliability of the exits",
            "how sure an exit is",
            "share of tokens that are the full model's",
            760,
            520);
    chart.getStyler().setXAxisMin(0.0);
    chart.getStyler().setXAxisMax(1.0);
    chart.getStyler().setYAxisMin(0.0);
    chart.getStyler().setYAxisMax(1.0);
    for (int i = 0; i < plain.exits().size(); i++) {
      Color colour = Charts.ofHead(i, plain.exits().size() + 1);
      String name = "exit " + plain.exits().get(i);
      add(chart, name, plain.reliability(i), colour).setMarker(Charts.marker(i));
      if (!tempered.equals(plain)) {
        XYSeries series =
            add(chart, name + ", at its temperature", tempered.reliability(i), colour);
        series.setMarker(Charts.marker(i));
        series.setLineStyle(Charts.DASHED);
      }
    }
    XYSeries ideal = chart.addSeries("as sure as right", new double[] {0, 1}, new double[] {0, 1});
    ideal.setMarker(SeriesMarkers.NONE);
    ideal.setLineColor(Color.GRAY);
    Charts.png(chart, picture);
  }

  private static XYSeries add(XYChart chart, String name, List<Bin> all, Color colour) {
    List<Bin> enough = all.stream().filter(bin -> bin.tokens() >= FEWEST).toList();
    List<Bin> bins = enough.isEmpty() ? all : enough;
    XYSeries series =
        chart.addSeries(
            name,
            bins.stream().mapToDouble(Bin::confidence).toArray(),
            bins.stream().mapToDouble(Bin::agreement).toArray());
    series.setLineColor(colour);
    series.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(colour);
    return series;
  }
}
