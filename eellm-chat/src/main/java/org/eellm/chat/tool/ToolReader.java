package org.eellm.chat.tool;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Finds the calls in an answer as it comes, which is held to the grammar of a {@link ToolForm}. */
public final class ToolReader {
  private final ToolForm form;
  private final StringBuilder held = new StringBuilder(); // what is not told yet
  private State state;
  private int skipped; // characters in front of a name
  private int calls;
  private int depth; // in the arguments
  private boolean inString;
  private boolean escaped;

  private enum State {
    /** Nothing has come. */
    START,
    /** In a text that a call may follow. */
    TEXT,
    /** In a text that nothing follows. */
    TEXT_ALONE,
    NAME,
    ARGUMENTS,
    BEHIND
  }

  /** A part of an answer. */
  public sealed interface Part {
    /** A piece of its text. */
    record Text(String piece) implements Part {}

    /**
     * A call begins.
     *
     * @param index from 0
     */
    record Call(int index, String id, String name) implements Part {}

    /** A piece of a call's arguments. */
    record Arguments(int index, String piece) implements Part {}
  }

  /** What parts come to: a text, and calls, of which the last may be cut. */
  public record Answer(String text, List<ToolCall> calls) {
    public Answer {
      calls = List.copyOf(calls);
    }

    /** Of parts, in which each call begins that has arguments there. */
    public static Answer of(List<Part> parts) {
      StringBuilder text = new StringBuilder();
      List<Part.Call> begun = new ArrayList<>();
      List<StringBuilder> arguments = new ArrayList<>();
      for (Part part : parts) {
        switch (part) {
          case Part.Text(String piece) -> text.append(piece);
          case Part.Call call -> {
            begun.add(call);
            arguments.add(new StringBuilder());
          }
          case Part.Arguments(_, String piece) -> arguments.getLast().append(piece);
        }
      }
      return new Answer(
          text.toString(),
          IntStream.range(0, begun.size())
              .mapToObj(
                  i ->
                      new ToolCall(
                          begun.get(i).id(), begun.get(i).name(), arguments.get(i).toString()))
              .toList());
    }
  }

  public ToolReader(ToolForm form) {
    this.form = form;
    state = form.mayFollowText() ? State.TEXT : State.START;
  }

  /** Calls that have begun. */
  public int calls() {
    return calls;
  }

  /** What is certain with a further piece of the answer. */
  public List<Part> append(String piece) {
    held.append(piece);
    List<Part> parts = new ArrayList<>();
    State before;
    do {
      before = state;
      switch (state) {
        case START -> start();
        case TEXT -> text(parts);
        case TEXT_ALONE -> tell(held.length(), parts);
        case NAME -> name(parts);
        case ARGUMENTS -> arguments(parts);
        case BEHIND -> behind();
      }
    } while (state != before);
    return parts;
  }

  /** The rest, when nothing follows. */
  public List<Part> finish() {
    List<Part> parts = new ArrayList<>();
    if (state == State.START || state == State.TEXT) {
      tell(held.length(), parts);
    }
    return parts;
  }

  private void start() {
    if (held.indexOf(form.mark()) == 0) {
      beginCall();
    } else if (!form.mark().startsWith(held.toString())) {
      state = State.TEXT_ALONE;
    }
  }

  private void text(List<Part> parts) {
    int found = held.indexOf(form.mark());
    int end = found >= 0 ? found : held.length();
    if (found < 0) { // the end may be the beginning of a mark
      end = Math.max(0, end - form.mark().length() + 1);
      while (!form.mark().startsWith(held.substring(end))) {
        end++;
      }
    }
    while (end > 0 && Character.isWhitespace(held.charAt(end - 1))) {
      end--; // blanks in front of a call are none of the text
    }
    tell(end, parts);
    if (found >= 0) {
      held.delete(0, found - end);
      beginCall();
    }
  }

  private void beginCall() {
    skipped = form.opening().length();
    state = State.NAME;
  }

  private void tell(int length, List<Part> parts) {
    if (length > 0) {
      parts.add(new Part.Text(held.substring(0, length)));
      held.delete(0, length);
    }
  }

  private void name(List<Part> parts) {
    int end = held.indexOf(form.middle(), skipped);
    if (end >= 0) {
      parts.add(new Part.Call(calls++, ToolCall.newId(), held.substring(skipped, end)));
      held.delete(0, end + form.middle().length());
      state = State.ARGUMENTS;
    }
  }

  private void arguments(List<Part> parts) {
    int end = 0;
    boolean closed = false;
    while (end < held.length() && !closed) {
      closed = closes(held.charAt(end++));
    }
    if (end > 0) {
      parts.add(new Part.Arguments(calls - 1, held.substring(0, end)));
      held.delete(0, end);
    }
    state = closed ? State.BEHIND : state;
  }

  /** Whether a character of an object closes it. */
  private boolean closes(char next) {
    if (inString) {
      inString = escaped || next != '"';
      escaped = !escaped && next == '\\';
      return false;
    }
    inString = next == '"';
    depth += next == '{' ? 1 : next == '}' ? -1 : 0;
    return next == '}' && depth == 0;
  }

  private void behind() {
    String separator = form.separator();
    if (!separator.isEmpty() && held.indexOf(separator) == 0) {
      held.delete(0, separator.length());
      skipped = 0;
      state = State.NAME;
    }
  }
}
