package org.eellm.eval.task;

import java.math.BigDecimal;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/** Compares written answers with references, as SQuAD and HELM do. */
final class AnswerMetrics {
  private static final Pattern PUNCTUATION = Pattern.compile("[!-/:-@\\[-`{-~]");
  private static final Pattern ARTICLES = Pattern.compile("\\b(a|an|the)\\b");
  private static final Pattern NUMBER = Pattern.compile("-?[0-9][0-9,]*(\\.[0-9]+)?");

  private AnswerMetrics() {}

  /** In lower case, without punctuation and articles, and with single blanks. */
  static String normalized(String text) {
    String plain = PUNCTUATION.matcher(text.toLowerCase(Locale.ROOT)).replaceAll("");
    return ARTICLES.matcher(plain).replaceAll(" ").strip().replaceAll("\\s+", " ");
  }

  /** Harmonic mean of precision and recall of words, each as often as it comes. */
  static double f1(String reference, String text) {
    return f1(counts(reference), counts(text));
  }

  /** Harmonic mean of precision and recall of words, each once. */
  static double f1OfSets(String reference, String text) {
    Map<String, Integer> wanted = counts(reference);
    Map<String, Integer> given = counts(text);
    wanted.replaceAll((word, count) -> 1);
    given.replaceAll((word, count) -> 1);
    return f1(wanted, given);
  }

  private static double f1(Map<String, Integer> wanted, Map<String, Integer> given) {
    if (wanted.isEmpty() || given.isEmpty()) {
      return wanted.equals(given) ? 1 : 0;
    }
    return Rouge.overlap(Rouge.common(wanted, given), Rouge.total(wanted), Rouge.total(given)).f();
  }

  private static Map<String, Integer> counts(String text) {
    return Arrays.stream(normalized(text).split(" "))
        .filter(word -> !word.isEmpty())
        .collect(Collectors.toMap(word -> word, word -> 1, Integer::sum, TreeMap::new));
  }

  /** Whether both end with the same number. */
  static boolean sameFinalNumber(String reference, String text) {
    Optional<BigDecimal> wanted = finalNumber(reference);
    return wanted.isPresent()
        && finalNumber(text).filter(given -> given.compareTo(wanted.get()) == 0).isPresent();
  }

  private static Optional<BigDecimal> finalNumber(String text) {
    List<String> numbers = NUMBER.matcher(text).results().map(MatchResult::group).toList();
    return numbers.isEmpty()
        ? Optional.empty()
        : Optional.of(new BigDecimal(numbers.getLast().replace(",", "")));
  }
}
