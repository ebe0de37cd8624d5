package org.eellm.eval.sweep;

import java.util.Optional;
import org.eellm.config.yaml.EditDistance;
import org.eellm.eval.sweep.JavaMethods.Method;

/**
 * A method cut in two at the line end in its middle, and how good a second half is beside its own.
 *
 * @param before the file up to the cut
 * @param rest of the method, from the line end up to and including the closing brace
 * @param after the rest of the file
 */
record HalfMethod(String before, String rest, String after) {
  /** Fewest lines of a body, that of the closing brace among them. */
  static final int LEAST_LINES = 4;

  /** A method of a file; nothing where it is short, or where the second half begins blank. */
  static Optional<HalfMethod> of(String file, Method method) {
    int lines = (int) method.body().lines().skip(1).count(); // not what is left of the brace's
    int cut = 0;
    for (int line = 0; line < lines / 2; line++) {
      cut = method.body().indexOf('\n', cut + 1);
    }
    if (lines < LEAST_LINES || method.body().startsWith("\n\n", cut)) {
      return Optional.empty();
    }
    int end = method.before().length() + method.body().length();
    return Optional.of(
        new HalfMethod(
            method.before() + method.body().substring(0, cut),
            method.body().substring(cut),
            file.substring(end)));
  }

  /** The line that closes the method: nothing within it stands so far left. */
  private String end() {
    return rest.substring(rest.lastIndexOf('\n'));
  }

  /** Whether a second half has come to its end. */
  boolean isComplete(CharSequence text) {
    return text.toString().contains(end());
  }

  /** A second half up to its end, if it has come to it. */
  String complete(String text) {
    int place = text.indexOf(end());
    return place < 0 ? text : text.substring(0, place + end().length());
  }

  /** 1 if the next line is the file's, up to the space around it; else 0. */
  double nextLineExact(String text) {
    return firstLine(text).equals(firstLine(rest)) ? 1 : 0;
  }

  /** How much the next line is like the file's, from 0 to 1. */
  double nextLineSimilarity(String text) {
    return EditDistance.similarity(firstLine(text), firstLine(rest));
  }

  /** How much a second half is like the file's, from 0 to 1. */
  double similarity(String text) {
    return EditDistance.similarity(text, rest);
  }

  /** 1 if the file with a second half has no errors of syntax; else 0. */
  double parses(String text) {
    return JavaMethods.parses(before + text + after) ? 1 : 0;
  }

  private static String firstLine(String text) {
    return text.lines().filter(line -> !line.isBlank()).findFirst().orElse("").strip();
  }
}
