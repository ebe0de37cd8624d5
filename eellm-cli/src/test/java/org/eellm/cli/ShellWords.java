package org.eellm.cli;

import java.util.ArrayList;
import java.util.List;

/** Divides a command line as a shell does, as far as documentation uses one. */
final class ShellWords {
  private ShellWords() {}

  /** The words of a line, without their quotes and without a comment. */
  static List<String> of(String line) {
    List<String> words = new ArrayList<>();
    StringBuilder word = new StringBuilder();
    boolean inWord = false;
    char quote = 0;
    for (char c : line.toCharArray()) {
      if (quote != 0) {
        if (c == quote) {
          quote = 0;
        } else {
          word.append(c);
        }
      } else if (c == '"' || c == '\'') {
        quote = c;
        inWord = true;
      } else if (c == '#' && !inWord) {
        break;
      } else if (Character.isWhitespace(c)) {
        if (inWord) {
          words.add(word.toString());
        }
        word.setLength(0);
        inWord = false;
      } else {
        word.append(c);
        inWord = true;
      }
    }
    if (quote != 0) {
      throw new IllegalArgumentException("a quote does not end: " + line);
    }
    if (inWord) {
      words.add(word.toString());
    }
    return words;
  }
}
