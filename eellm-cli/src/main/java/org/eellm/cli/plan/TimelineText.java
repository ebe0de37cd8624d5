package org.eellm.cli.plan;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.cli.plan.TimelineWork.Part;
import org.eellm.schedule.Timeline;
import org.eellm.schedule.Timeline.Span;
import picocli.CommandLine.Help.Ansi;

/**
 * A timeline in lines of text, a line a stage: in colours where the terminal has some, in ASCII
 * elsewhere.
 */
final class TimelineText {
  private static final char IDLE = '.';

  private TimelineText() {}

  /**
   * Draws a timeline.
   *
   * @param width characters of a line, at most
   */
  static List<String> draw(Timeline timeline, int width, Ansi ansi) {
    int stages = timeline.schedule().stages();
    String indent = "stage " + (stages - 1) + "  ";
    List<String> lines = new ArrayList<>();
    for (int stage = 0; stage < stages; stage++) {
      Row row = new Row(width - indent.length());
      for (Span span : timeline.spans()) {
        if (span.stage() == stage) {
          row.add(span, timeline);
        }
      }
      String name = "stage " + stage;
      lines.add(name + " ".repeat(indent.length() - name.length()) + row.line(ansi));
    }
    lines.add("");
    lines.add(" ".repeat(indent.length()) + legend(timeline, ansi));
    return lines;
  }

  private static String legend(Timeline timeline, Ansi ansi) {
    List<TimelineWork> used =
        timeline.spans().stream()
            .flatMap(span -> TimelineWork.parts(span).stream())
            .map(Part::work)
            .distinct()
            .sorted()
            .toList();
    List<String> words = new ArrayList<>();
    for (TimelineWork work : used) {
      boolean fill = work.title().startsWith("fill");
      if (ansi.enabled()) {
        words.add(work.paint(" " + work.title() + " "));
      } else if (!fill) {
        words.add(work.mark() + " " + work.title());
      } else if (work == TimelineWork.FILL_FORWARD) {
        words.add("a, b, ... fills");
      }
    }
    words.add(IDLE + " idle");
    return String.join("   ", words);
  }

  /** A stage's line: for every character what it shows, and the work that it stands for. */
  private static final class Row {
    private final char[] characters;
    private final TimelineWork[] works;

    Row(int width) {
      characters = new char[Math.max(width, 1)];
      works = new TimelineWork[characters.length];
      Arrays.fill(characters, IDLE);
    }

    void add(Span span, Timeline timeline) {
      String label =
          TimelineWork.label(span.action().microbatch(), timeline.schedule().microbatches());
      for (Part part : TimelineWork.parts(span)) {
        int start = column(part.start(), timeline);
        int end = column(part.end(), timeline);
        Arrays.fill(characters, start, end, part.work().mark());
        Arrays.fill(works, start, end, part.work());
        if (part.work() != TimelineWork.HEADS && start + label.length() <= end) {
          label.getChars(0, label.length(), characters, start);
        }
      }
    }

    private int column(double time, Timeline timeline) {
      return (int) Math.round(time / timeline.makespan() * characters.length);
    }

    String line(Ansi ansi) {
      String text = new String(characters);
      if (!ansi.enabled()) {
        return text;
      }
      StringBuilder line = new StringBuilder();
      int begin = 0;
      for (int i = 1; i <= works.length; i++) {
        if (i == works.length || works[i] != works[begin]) {
          String run = text.substring(begin, i);
          TimelineWork work = works[begin];
          line.append(work == null ? run : work.paint(run.replace(work.mark(), ' ')));
          begin = i;
        }
      }
      return line.toString();
    }
  }
}
