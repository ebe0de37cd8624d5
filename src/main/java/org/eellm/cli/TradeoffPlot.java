package org.eellm.cli;

import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.eellm.cli.ThresholdSweep.Row;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The picture of a {@link ThresholdSweep}: speed-up against agreement, a dot a threshold. */
final class TradeoffPlot {
  private static final Color EXITS = new Color(0x0072B2);
  private static final Color FULL_MODEL = new Color(0x000000);

  /** Room left and right of the dots, as a share of what they span. */
  private static final double MARGIN = 0.05;

  private TradeoffPlot() {}

  /** Writes a PNG file. */
  static void write(ThresholdSweep sweep, Path picture) throws IOException {
    List<Row> rows = sweep.rows();
    double[] agreement = rows.stream().mapToDouble(row -> 100 * row.agreement()).toArray();
    double[] speedUp = rows.stream().mapToDouble(Row::speedUp).toArray();
    double least = Arrays.stream(agreement).min().orElseThrow();
    double width = Math.max(1, 100 - least);

    XYChart chart =
        new XYChartBuilder()
            .width(1000)
            .height(620)
            .title("What early exits gain and change, by threshold")
            .xAxisTitle("tokens that are the full model's, %")
            .yAxisTitle("speed-up over the full model")
            .build();
    style(chart.getStyler());
    chart.getStyler().setXAxisMin(least - MARGIN * width);
    chart.getStyler().setXAxisMax(100 + 2 * MARGIN * width);
    XYSeries exits = chart.addSeries("early exits at threshold ...", agreement, speedUp);
    exits.setLineColor(EXITS);
    exits.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(EXITS);
    XYSeries full = chart.addSeries("full model", new double[] {100}, new double[] {1});
    full.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    full.setMarker(SeriesMarkers.DIAMOND).setMarkerColor(FULL_MODEL);
    for (int i = 0; i < rows.size(); i++) {
      String label = "%.1f".formatted(rows.get(i).threshold());
      double besideTheDot = agreement[i] + MARGIN / 2 * width;
      chart.addAnnotation(new AnnotationText(label, besideTheDot, speedUp[i], false));
    }
    BitmapEncoder.saveBitmap(chart, picture.toString(), BitmapFormat.PNG);
  }

  private static void style(XYStyler styler) {
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(new Color(0xDDDDDD));
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 18));
    styler.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
    styler.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    styler.setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.PLAIN, 13));
    styler.setLegendPosition(LegendPosition.InsideNE);
    styler.setXAxisDecimalPattern("0.#");
    styler.setYAxisDecimalPattern("0.0#");
    styler.setMarkerSize(9);
  }
}
