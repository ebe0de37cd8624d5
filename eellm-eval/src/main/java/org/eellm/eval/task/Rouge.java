package org.eellm.eval.task;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * ROUGE (Lin 2004) as Google's rouge_score has it without stemming: words are runs of ASCII letters
 * and digits, in lower case.
 */
final class Rouge {
  private Rouge() {}

  /** How well a text covers a reference. */
  public record Overlap(double precision, double recall) {
    /** The harmonic mean. */
    double f() {
      return precision + recall == 0 ? 0 : 2 * precision * recall / (precision + recall);
    }
  }

  /** ROUGE-N: runs of {@code n} words that both have, each as often as both have it. */
  static Overlap n(int n, String reference, String text) {
    Map<List<String>, Integer> wanted = runs(n, words(reference));
    Map<List<String>, Integer> given = runs(n, words(text));
    return overlap(common(wanted, given), total(wanted), total(given));
  }

  /** ROUGE-L: the longest common subsequence of words. */
  static Overlap longest(String reference, String text) {
    List<String> wanted = words(reference);
    List<String> given = words(text);
    int[] lengths = new int[given.size() + 1]; // of the words so far and the text's first j
    for (String word : wanted) {
      int before = 0; // of one word and one of the text less
      for (int j = 1; j <= given.size(); j++) {
        int above = lengths[j];
        lengths[j] =
            word.equals(given.get(j - 1)) ? before + 1 : Math.max(lengths[j], lengths[j - 1]);
        before = above;
      }
    }
    return overlap(lengths[given.size()], wanted.size(), given.size());
  }

  private static List<String> words(String text) {
    return Arrays.stream(text.toLowerCase(Locale.ROOT).split("[^a-z0-9]+"))
        .filter(word -> !word.isEmpty())
        .toList();
  }

  private static Map<List<String>, Integer> runs(int n, List<String> words) {
    Map<List<String>, Integer> counts = new HashMap<>();
    for (int i = 0; i + n <= words.size(); i++) {
      counts.merge(words.subList(i, i + n), 1, Integer::sum);
    }
    return counts;
  }

  /** How many of both are the same. */
  static <T> int common(Map<T, Integer> wanted, Map<T, Integer> given) {
    return wanted.entrySet().stream()
        .mapToInt(entry -> Math.min(entry.getValue(), given.getOrDefault(entry.getKey(), 0)))
        .sum();
  }

  static int total(Map<?, Integer> counts) {
    return counts.values().stream().mapToInt(Integer::intValue).sum();
  }

  static Overlap overlap(int common, int wanted, int given) {
    return new Overlap(
        given == 0 ? 0 : (double) common / given, wanted == 0 ? 0 : (double) common / wanted);
  }
}
