package org.eellm.cli.train;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.Color;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.config.HeadId;
import org.eellm.eval.Charts;
import org.eellm.train.TrainException;
import org.eellm.train.metrics.MetricsFile;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The picture of a run: each head's training loss over the steps, smoothed, and its validation loss
 * as dots of the same colour.
 */
final class LossPlot {
  private static final int WIDTH = 1000;
  private static final int HEIGHT = 620;

  /** Points a curve is averaged down to at most. */
  private static final int POINTS = 200;

  private LossPlot() {}

  private record Point(double step, double loss) {}

  /**
   * Draws a run.
   *
   * @param metrics the run's {@code metrics.jsonl}
   * @param picture the PNG file to write
   * @throws TrainException if the metrics cannot be read or hold no loss, or the picture cannot be
   *     written
   */
  public static void write(Path metrics, Path picture) {
    List<JsonNode> lines = MetricsFile.read(metrics);
    Map<String, List<Point>> training = curves(lines, "loss_");
    Map<String, List<Point>> validation = curves(lines, "validation_loss_");
    if (training.isEmpty()) {
      throw new TrainException(metrics + ": no step with a loss to draw; train at least one step");
    }
    XYChart chart =
        Charts.chart("Loss of every exit", "step", "cross entropy, nats per token", WIDTH, HEIGHT);
    style(chart, training);
    int place = 0;
    for (var head : training.entrySet()) {
      Marker marker = Charts.marker(place);
      Color colour = Charts.ofHead(place++, training.size());
      String label = HeadId.parse(head.getKey()).label();
      XYSeries curve = add(chart, label + ", training", smoothed(head.getValue()));
      curve.setLineColor(colour).setLineWidth(2);
      curve.setMarker(SeriesMarkers.NONE);
      List<Point> evaluations = validation.getOrDefault(head.getKey(), List.of());
      if (!evaluations.isEmpty()) {
        XYSeries dots = add(chart, label + ", validation", evaluations);
        dots.setXYSeriesRenderStyle(XYSeries.XYSeriesRenderStyle.Scatter);
        dots.setMarker(marker).setMarkerColor(colour);
      }
    }
    try {
      BitmapEncoder.saveBitmap(chart, picture.toString(), BitmapFormat.PNG);
    } catch (IOException e) {
      throw TrainException.of(picture, "cannot be written", e);
    }
  }

  private static Map<String, List<Point>> curves(List<JsonNode> lines, String prefix) {
    Map<String, List<Point>> curves = new LinkedHashMap<>();
    for (JsonNode line : lines) {
      for (var value : line.properties()) {
        if (value.getKey().startsWith(prefix) && value.getValue().isNumber()) {
          curves
              .computeIfAbsent(value.getKey().substring(prefix.length()), _ -> new ArrayList<>())
              .add(new Point(line.path("step").asDouble(), value.getValue().asDouble()));
        }
      }
    }
    return curves;
  }

  /** The means of equal runs of neighbouring points. */
  private static List<Point> smoothed(List<Point> points) {
    int size = Math.ceilDiv(points.size(), POINTS);
    List<Point> means = new ArrayList<>();
    for (int from = 0; from < points.size(); from += size) {
      List<Point> run = points.subList(from, Math.min(from + size, points.size()));
      means.add(
          new Point(
              run.stream().mapToDouble(Point::step).average().orElseThrow(),
              run.stream().mapToDouble(Point::loss).average().orElseThrow()));
    }
    return means;
  }

  private static XYSeries add(XYChart chart, String name, List<Point> points) {
    return chart.addSeries(
        name,
        points.stream().mapToDouble(Point::step).toArray(),
        points.stream().mapToDouble(Point::loss).toArray());
  }

  private static void style(XYChart chart, Map<String, List<Point>> curves) {
    XYStyler styler = chart.getStyler();
    styler.setXAxisMin(0.0);
    styler.setXAxisMax( // where the data ends
        curves.values().stream()
            .flatMap(List::stream)
            .mapToDouble(Point::step)
            .max()
            .orElseThrow());
    styler.setXAxisDecimalPattern("#,##0");
    styler.setYAxisDecimalPattern("0.0##");
  }
}
