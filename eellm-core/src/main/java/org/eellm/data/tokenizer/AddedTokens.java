package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** Tokens that are found in a text before all else, of several at one place the longest. */
final class AddedTokens {
  /**
   * What is found.
   *
   * @param left whether it takes the blanks before it
   * @param right whether it takes those behind it
   */
  private record Found(String name, int id, boolean left, boolean right) {}

  private final List<Found> tokens; // by name
  private final Set<Character> firsts; // of their letters

  /** Those of some that a text may have: special ones are letters there. */
  AddedTokens(Map<String, JsonNode> all) {
    tokens =
        new TreeMap<>(all)
            .entrySet().stream()
                .filter(token -> !token.getValue().path("special").asBoolean())
                .map(token -> found(token.getKey(), token.getValue()))
                .toList();
    firsts = tokens.stream().map(token -> token.name.charAt(0)).collect(Collectors.toSet());
  }

  private static Found found(String name, JsonNode token) {
    return new Found(
        name,
        token.path("id").asInt(),
        token.path("lstrip").asBoolean(),
        token.path("rstrip").asBoolean());
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
      Found found = firsts.contains(text.charAt(at)) ? longest(text, at) : null;
      if (found != null) {
        int from = found.left ? blanksBefore(text, at, done) : at;
        if (from > done) {
          parts.accept(text.substring(done, from), done == 0);
        }
        ids.accept(found.id);
        int end = at + found.name.length();
        done = found.right ? blanksBehind(text, end) : end;
        at = done - 1;
      }
    }
    if (done < text.length()) {
      parts.accept(text.substring(done), done == 0);
    }
  }

  /** The longest that a text has at a place: letter by letter, those that go on so. */
  private @Nullable Found longest(String text, int place) {
    Found longest = null;
    int from = 0;
    int to = tokens.size();
    for (int depth = 0; from < to; depth++) {
      if (tokens.get(from).name.length() == depth) {
        longest = tokens.get(from++);
      }
      int letter = place + depth < text.length() ? text.charAt(place + depth) : -1;
      from = firstFrom(letter, depth, from, to);
      to = firstFrom(letter + 1, depth, from, to);
    }
    return longest;
  }

  /** The first in a range whose letter at a depth is not below another. */
  private int firstFrom(int letter, int depth, int from, int to) {
    int low = from;
    int high = to;
    while (low < high) {
      int middle = low + high >>> 1;
      if (tokens.get(middle).name.charAt(depth) < letter) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
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
