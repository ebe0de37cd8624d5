package org.eellm.cli.plan;

import java.util.List;
import org.eellm.schedule.Action.Backward;
import org.eellm.schedule.Action.BackwardWeights;
import org.eellm.schedule.Action.Forward;
import org.eellm.schedule.Action.Tune;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.Timeline.Span;
import picocli.CommandLine.Help.Ansi.IStyle;
import picocli.CommandLine.Help.Ansi.Style;

/** The kinds of work that pictures of a timeline tell apart, and how they look. */
enum TimelineWork {
  FORWARD("forward", '-', "56B4E9", "74", Ink.DARK),
  BACKWARD("backward", '=', "007A58", "29", Ink.LIGHT),
  WEIGHTS("weight gradients", '+', "0072B2", "25", Ink.LIGHT),
  HEADS("heads", '#', "E69F00", "214", Ink.DARK),
  FILL_FORWARD("fill, forward", '-', "EBC3DB", "182", Ink.DARK),
  FILL_BACKWARD("fill, backward", '=', "B5568C", "132", Ink.LIGHT);

  /** Of text on a colour. */
  enum Ink {
    DARK("111111", "16"),
    LIGHT("FFFFFF", "231");

    private final String color;
    private final String terminalColor;

    Ink(String color, String terminalColor) {
      this.color = color;
      this.terminalColor = terminalColor;
    }

    String color() {
      return color;
    }
  }

  private static final int LETTERS = 26;

  private final String title;
  private final char mark;
  private final String color;
  private final String terminalColor;
  private final Ink ink;

  TimelineWork(String title, char mark, String color, String terminalColor, Ink ink) {
    this.title = title;
    this.mark = mark;
    this.color = color;
    this.terminalColor = terminalColor;
    this.ink = ink;
  }

  /** Its name for people. */
  String title() {
    return title;
  }

  /** The character that draws it where there are no colours. */
  char mark() {
    return mark;
  }

  /** In hexadecimal RGB: colours of Okabe and Ito, told apart by colour-blind readers too. */
  String color() {
    return color;
  }

  /** Of text on {@link #color}. */
  Ink ink() {
    return ink;
  }

  /** Text on this colour, for terminals with xterm's 256 colours. */
  String paint(String text) {
    IStyle[] styles = {Style.bg(terminalColor), Style.fg(ink.terminalColor)};
    return Style.on(styles) + text + Style.off(styles);
  }

  /** A part of a computation. */
  record Part(TimelineWork work, double start, double end) {}

  /** The parts of a computation in order of time: its layers, and its heads if it has some. */
  static List<Part> parts(Span span) {
    boolean regular = span.action().microbatch() instanceof Regular;
    double start = span.start();
    double end = span.end();
    return switch (span.action()) {
      case Forward _ -> List.of(new Part(regular ? FORWARD : FILL_FORWARD, start, end));
      case Backward _ -> {
        Part layers = new Part(regular ? BACKWARD : FILL_BACKWARD, start + span.heads(), end);
        yield span.heads() == 0
            ? List.of(layers)
            : List.of(new Part(HEADS, start, start + span.heads()), layers);
      }
      case BackwardWeights _ -> List.of(new Part(WEIGHTS, start, end));
      case Tune _ -> {
        Part layers = new Part(FORWARD, start, end - span.heads());
        yield span.heads() == 0
            ? List.of(layers)
            : List.of(layers, new Part(HEADS, end - span.heads(), end));
      }
    };
  }

  /** A microbatch's number; fills have letters. */
  static String label(MicrobatchId id, int microbatches) {
    return id instanceof Regular
        ? String.valueOf(id.index())
        : String.valueOf((char) ('a' + (id.index() - microbatches) % LETTERS));
  }
}
