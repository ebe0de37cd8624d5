package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.IntConsumer;

/**
 * Tokens that are found in a text before all else, of several at one place the longest.
 *
 * @param tokens by their names
 * @param firsts the first characters of names
 * @param lengths of names, the longest first
 */
record AddedTokens(Map<String, Found> tokens, Set<Character> firsts, List<Integer> lengths) {

  /**
   * What is found.
   *
   * @param left whether it takes the blanks before it
   * @param right whether it takes those behind it
   */
  private record Found(int id, boolean left, boolean right) {}

  /** Those that a text may have: special ones are letters there. */
  static AddedTokens of(Map<String, JsonNode> all) {
    Map<String, Found> tokens = new HashMap<>();
    Set<Character> firsts = new HashSet<>();
    all.forEach(
        (name, token) -> {
          if (!token.path("special").asBoolean()) {
            firsts.add(name.charAt(0));
            tokens.put(
                name,
                new Found(
                    token.path("id").asInt(),
                    token.path("lstrip").asBoolean(),
                    token.path("rstrip").asBoolean()));
          }
        });
    List<Integer> lengths =
        tokens.keySet().stream()
            .map(String::length)
            .distinct()
            .sorted(Comparator.reverseOrder())
            .toList();
    return new AddedTokens(tokens, firsts, lengths);
  }

  /** Told of a part of a text. */
  @FunctionalInterface
  interface Part {
    /**
     * @param first whether it begins the text
     */
    void accept(String text, boolean first);
  }

  /** Gives the parts of a text and the tokens between them, in their order. */
  void divide(String text, Part parts, IntConsumer ids) {
    int done = 0;
    for (int at = 0; at < text.length() && !firsts.isEmpty(); at++) {
      if (!firsts.contains(text.charAt(at))) {
        continue;
      }
      for (int length : lengths) {
        int end = at + length;
        Found found = end > text.length() ? null : tokens.get(text.substring(at, end));
        if (found != null) {
          int from = found.left ? blanksBefore(text, at, done) : at;
          if (from > done) {
            parts.accept(text.substring(done, from), done == 0);
          }
          ids.accept(found.id);
          done = found.right ? blanksBehind(text, end) : end;
          at = done - 1;
          break;
        }
      }
    }
    if (done < text.length()) {
      parts.accept(text.substring(done), done == 0);
    }
  }

  private static int blanksBefore(String text, int from, int least) {
    int at = from;
    while (at > least && isBlank(text.charAt(at - 1))) {
      at--;
    }
    return at;
  }

  private static int blanksBehind(String text, int from) {
    int at = from;
    while (at < text.length() && isBlank(text.charAt(at))) {
      at++;
    }
    return at;
  }

  /** Unicode's white space, of which Java's own leaves some out. */
  private static boolean isBlank(char character) {
    return Character.isSpaceChar(character)
        || (character >= '\t' && character <= '\r')
        || character == '\u0085';
  }
}
