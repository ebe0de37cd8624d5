package org.eellm.eval;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The style of all charts of this package, and their PNG files. */
public final class Charts {
  /** Okabe and Ito's colours, told apart by colour-blind readers too. */
  public static final List<Color> COLOURS =
      List.of(
          new Color(0x0072B2),
          new Color(0xD55E00),
          new Color(0x009E73),
          new Color(0xCC79A7),
          new Color(0xE69F00),
          new Color(0x56B4E9),
          new Color(0x000000));

  private static final Color SHALLOW = new Color(0x18B8A0);
  private static final Color MIDDLE = new Color(0x1F6FB2);
  private static final Color DEEP = new Color(0x2A1B5C);

  /** Shapes that tell lines apart where colours do not. */
  private static final List<Marker> MARKERS =
      List.of(
          SeriesMarkers.CIRCLE,
          SeriesMarkers.SQUARE,
          SeriesMarkers.TRIANGLE_UP,
          SeriesMarkers.DIAMOND,
          SeriesMarkers.TRIANGLE_DOWN);

  /** For what belongs to another line. */
  public static final BasicStroke DASHED =
      new BasicStroke(2, BasicStroke.CAP_BUTT, BasicStroke.JOIN_BEVEL, 10, new float[] {6, 5}, 0);

  private Charts() {}

  public static XYChart chart(String title, String x, String y, int width, int height) {
    XYChart chart =
        new XYChartBuilder()
            .width(width)
            .height(height)
            .title(title)
            .xAxisTitle(x)
            .yAxisTitle(y)
            .build();
    XYStyler styler = chart.getStyler();
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(new Color(0xDDDDDD));
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 16));
    styler.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
    styler.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    styler.setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    styler.setLegendPosition(LegendPosition.OutsideE);
    styler.setSeriesColors(COLOURS.toArray(Color[]::new));
    styler.setMarkerSize(7);
    return chart;
  }

  /**
   * An exit's colour: one scale for any number of them, darker where more of the model was used, in
   * grey too. The final head is black.
   *
   * @param place among the heads, from 0, shallowest first
   * @param heads with the final head
   */
  public static Color ofHead(int place, int heads) {
    if (place == heads - 1) {
      return Color.BLACK;
    }
    double depth = heads < 3 ? 0 : 2.0 * place / (heads - 2);
    return depth < 1 ? between(SHALLOW, MIDDLE, depth) : between(MIDDLE, DEEP, depth - 1);
  }

  private static Color between(Color from, Color to, double share) {
    return new Color(
        (int) Math.round(from.getRed() + share * (to.getRed() - from.getRed())),
        (int) Math.round(from.getGreen() + share * (to.getGreen() - from.getGreen())),
        (int) Math.round(from.getBlue() + share * (to.getBlue() - from.getBlue())));
  }

  /** The shape of an exit, or of another series, by its place. */
  public static Marker marker(int place) {
    return MARKERS.get(place % MARKERS.size());
  }

  /** Writes a PNG file. */
  public static void png(XYChart chart, Path picture) {
    try {
      Files.createDirectories(picture.toAbsolutePath().getParent());
      BitmapEncoder.saveBitmap(chart, picture.toString(), BitmapFormat.PNG);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
