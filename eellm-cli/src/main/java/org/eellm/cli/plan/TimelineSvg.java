package org.eellm.cli.plan;

import java.util.Formatter;
import java.util.List;
import java.util.Locale;
import org.eellm.cli.plan.TimelineWork.Ink;
import org.eellm.cli.plan.TimelineWork.Part;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.Timeline;
import org.eellm.schedule.Timeline.Span;

/** A timeline as an SVG picture: a bar for each stage, time to the right. */
final class TimelineSvg {
  private static final int WIDTH = 1200;
  private static final int LEFT = 76;
  private static final int RIGHT = 150;
  private static final int TOP = 84;
  private static final int BAR = 40;
  private static final int GAP = 10;
  private static final int BOTTOM = 92;
  private static final double LABEL_SIZE = 13;

  /** Width of a digit as a share of the font's size. */
  private static final double DIGIT = 0.62;

  /** Mean width of a letter in the legend. */
  private static final double LETTER = 6.2;

  /** Chunks of an interleaved schedule are told apart by the depth of their colours. */
  private static final double LIGHTEST = 0.55;

  private final Timeline timeline;
  private final String unit;
  private final Formatter svg = new Formatter(Locale.ROOT);

  private TimelineSvg(Timeline timeline, String unit) {
    this.timeline = timeline;
    this.unit = unit;
  }

  /**
   * Draws a timeline.
   *
   * @param title a line above the picture
   * @param subtitle a line below the title
   * @param unit of the timeline's times
   */
  static String draw(Timeline timeline, String title, String subtitle, String unit) {
    return new TimelineSvg(timeline, unit).draw(title, subtitle);
  }

  private String draw(String title, String subtitle) {
    Schedule schedule = timeline.schedule();
    int height = TOP + schedule.stages() * (BAR + GAP) + BOTTOM;
    svg.format(
        """
        <svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d"\
         font-family="Helvetica, Arial, sans-serif" font-size="13">
        <title>%s</title>
        <rect width="100%%" height="100%%" fill="#FFFFFF"/>
        """,
        WIDTH, height, WIDTH, height, escape(title));
    text(LEFT, 30, "font-size=\"19\" font-weight=\"bold\"", title);
    text(LEFT, 52, "font-size=\"14\" fill=\"#444444\"", subtitle);
    text(WIDTH - RIGHT + 12, TOP - 10, "fill=\"#444444\"", "idle");
    text(WIDTH - RIGHT + 70, TOP - 10, "fill=\"#444444\"", "peak live");
    for (int stage = 0; stage < schedule.stages(); stage++) {
      stage(stage);
    }
    int below = TOP + schedule.stages() * (BAR + GAP);
    axis(below);
    legend(below + 62);
    svg.format("</svg>%n");
    return svg.toString();
  }

  private void stage(int stage) {
    int y = TOP + stage * (BAR + GAP);
    int middle = y + BAR / 2 + 5;
    text(LEFT - 10, middle, "text-anchor=\"end\"", "stage " + stage);
    svg.format(
        "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"#EEEEEE\"/>%n",
        LEFT, y, WIDTH - LEFT - RIGHT, BAR);
    for (Span span : timeline.spans()) {
      if (span.stage() == stage) {
        span(span, y);
      }
    }
    text(WIDTH - RIGHT + 12, middle, "", "%.1f %%".formatted(100 * timeline.idleShare(stage)));
    text(WIDTH - RIGHT + 70, middle, "", String.valueOf(timeline.peakLive().get(stage)));
  }

  private void span(Span span, int y) {
    double lightness = lightness(span.action().chunk());
    for (Part part : TimelineWork.parts(span)) {
      boolean heads = part.work() == TimelineWork.HEADS;
      svg.format(
          "<rect x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\" fill=\"%s\" stroke=\"#FFFFFF\""
              + " stroke-width=\"0.8\"/>%n",
          x(part.start()),
          y,
          x(part.end()) - x(part.start()),
          BAR,
          lighter(part.work().color(), heads ? 0 : lightness));
      if (!heads) {
        Ink ink = lightness < LIGHTEST / 2 ? part.work().ink() : Ink.DARK;
        number(span.action().microbatch(), part, y, ink);
      }
    }
  }

  /** A microbatch's number on a part of its computation, if there is room for it. */
  private void number(MicrobatchId id, Part part, int y, Ink ink) {
    String label = TimelineWork.label(id, timeline.schedule().microbatches());
    double room = x(part.end()) - x(part.start());
    double size = Math.min(LABEL_SIZE, (room - 2) / (DIGIT * label.length()));
    if (size >= LABEL_SIZE / 2) {
      text(
          (x(part.start()) + x(part.end())) / 2,
          y + BAR / 2.0 + size * 0.36,
          String.format(
              Locale.ROOT,
              "text-anchor=\"middle\" font-size=\"%.1f\" fill=\"#%s\"",
              size,
              ink.color()),
          label);
    }
  }

  private double lightness(int chunk) {
    int chunks = timeline.schedule().chunks();
    return chunks == 1 ? 0 : LIGHTEST * chunk / (chunks - 1);
  }

  private static String lighter(String color, double lightness) {
    int value = Integer.parseInt(color, 16);
    return "#%02X%02X%02X"
        .formatted(
            lighter(value >> 16, lightness),
            lighter(value >> 8 & 0xFF, lightness),
            lighter(value & 0xFF, lightness));
  }

  private static int lighter(int component, double lightness) {
    return (int) Math.round(component + lightness * (0xFF - component));
  }

  private void axis(int y) {
    double step = tick(timeline.makespan() / 12);
    svg.format(
        "<path d=\"M%d %d H%d\" stroke=\"#888888\" fill=\"none\"/>%n", LEFT, y, WIDTH - RIGHT);
    for (int i = 0; i * step <= timeline.makespan(); i++) {
      svg.format("<path d=\"M%.2f %d v5\" stroke=\"#888888\"/>%n", x(i * step), y);
      text(
          x(i * step),
          y + 19,
          "text-anchor=\"middle\" font-size=\"12\" fill=\"#444444\"",
          step < 1 ? String.format(Locale.ROOT, "%.2g", i * step) : "%.0f".formatted(i * step));
    }
    text(
        (LEFT + WIDTH - RIGHT) / 2.0,
        y + 37,
        "text-anchor=\"middle\" font-size=\"12\" fill=\"#444444\"",
        "time, in " + unit);
  }

  /** The least of 1, 2, 5, 10, 20, ... that is not less. */
  private static double tick(double least) {
    double power = Math.pow(10, Math.floor(Math.log10(least)));
    for (double factor : new double[] {1, 2, 5}) {
      if (factor * power >= least) {
        return factor * power;
      }
    }
    return 10 * power;
  }

  private void legend(int y) {
    List<TimelineWork> used =
        timeline.spans().stream()
            .flatMap(span -> TimelineWork.parts(span).stream())
            .map(Part::work)
            .distinct()
            .sorted()
            .toList();
    double x = LEFT;
    for (TimelineWork work : used) {
      x = legend(x, y, "#" + work.color(), work.title());
    }
    x = legend(x, y, "#EEEEEE", "idle");
    if (timeline.schedule().chunks() > 1) {
      text(x, y + 12, "", "lighter: the stage's later chunks");
    }
  }

  private double legend(double x, int y, String color, String name) {
    svg.format("<rect x=\"%.1f\" y=\"%d\" width=\"22\" height=\"15\" fill=\"%s\"/>%n", x, y, color);
    text(x + 29, y + 12, "", name);
    return x + 29 + LETTER * name.length() + 26;
  }

  private double x(double time) {
    return LEFT + time / timeline.makespan() * (WIDTH - LEFT - RIGHT);
  }

  private void text(double x, double y, String attributes, String text) {
    svg.format("<text x=\"%.2f\" y=\"%.2f\" %s>%s</text>%n", x, y, attributes, escape(text));
  }

  private static String escape(String text) {
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
  }
}
