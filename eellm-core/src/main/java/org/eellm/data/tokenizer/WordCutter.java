package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.eellm.data.tokenizer.BoundedPattern.PatternException;

/**
 * Cuts a text into the words within which pairs are joined.
 *
 * @param cuts one after the other, each within the parts of the one before
 */
record WordCutter(List<Cut> cuts) {
  /** GPT-2's words; blanks are Unicode's, as in the original. */
  static final Pattern GPT_2_WORD =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          Pattern.UNICODE_CHARACTER_CLASS);

  /** A category, behind {@code \\p}. */
  private static final Pattern CATEGORY = Pattern.compile("\\{[A-Z][a-z]?}");

  /**
   * A cut.
   *
   * @param before whether to cut before each match
   * @param after whether to cut behind each match
   */
  record Cut(Pattern pattern, boolean before, boolean after) {
    static Cut around(String expression) {
      return new Cut(Pattern.compile(expression, Pattern.UNICODE_CHARACTER_CLASS), true, true);
    }
  }

  /**
   * The cuts that pre-tokenizers make; empty if one of them is none that is done here.
   *
   * @param words pre-tokenizers, in their order
   */
  static Optional<WordCutter> of(List<JsonNode> words) {
    List<Cut> cuts = new ArrayList<>();
    for (JsonNode part : words) {
      switch (part.path("type").asText()) {
        case "ByteLevel" -> {
          if (part.path("use_regex").asBoolean(true)) {
            cuts.add(new Cut(GPT_2_WORD, true, true));
          }
        }
        case "Metaspace" -> {
          if (part.path("split").asBoolean(true)) {
            String replacement = part.path("replacement").asText("\u2581");
            cuts.add(new Cut(Pattern.compile(replacement, Pattern.LITERAL), true, false));
          }
        }
        case "Digits" ->
            cuts.add(Cut.around(part.path("individual_digits").asBoolean() ? "\\p{N}" : "\\p{N}+"));
        case "Split" -> {
          Optional<Cut> cut = split(part);
          if (cut.isEmpty()) {
            return Optional.empty();
          }
          cuts.add(cut.get());
        }
        default -> {
          return Optional.empty();
        }
      }
    }
    return Optional.of(new WordCutter(List.copyOf(cuts)));
  }

  private static Optional<Cut> split(JsonNode part) {
    String behavior = part.path("behavior").asText();
    boolean isolated = behavior.equals("Isolated");
    if (part.path("invert").asBoolean()
        || !(isolated
            || behavior.equals("MergedWithPrevious")
            || behavior.equals("MergedWithNext"))) {
      return Optional.empty();
    }
    JsonNode literal = part.path("pattern").path("String");
    String expression = part.path("pattern").path("Regex").asText();
    try {
      Pattern pattern =
          literal.isTextual()
              ? Pattern.compile(literal.asText(), Pattern.LITERAL)
              : Pattern.compile(
                  BoundedPattern.of(expression).expression(), Pattern.UNICODE_CHARACTER_CLASS);
      boolean known = literal.isTextual() ? !literal.asText().isEmpty() : isCommon(expression);
      return known
          ? Optional.of(
              new Cut(
                  pattern,
                  isolated || behavior.equals("MergedWithNext"),
                  isolated || behavior.equals("MergedWithPrevious")))
          : Optional.empty();
    } catch (PatternException | PatternSyntaxException unknown) {
      return Optional.empty(); // the library says what is wrong with it
    }
  }

  /** Whether Java takes an expression for what Oniguruma, which the library has, takes it for. */
  private static boolean isCommon(String expression) {
    Matcher category = CATEGORY.matcher(expression);
    for (int at = 0; at < expression.length(); at++) {
      boolean common =
          switch (expression.charAt(at)) {
            case '$', '.', '&' -> false;
            case '^' -> at > 0 && expression.charAt(at - 1) == '[';
            case '[' -> !expression.startsWith(":", at + 1);
            case '\\' -> {
              char kind = expression.charAt(++at);
              yield !Character.isLetterOrDigit(kind)
                  || "rntsSdD".indexOf(kind) >= 0
                  || ((kind == 'p' || kind == 'P')
                      && category.region(at + 1, expression.length()).lookingAt());
            }
            default -> true;
          };
      if (!common) {
        return false;
      }
    }
    return true;
  }

  /** Gives the words of a text in their order; none is empty. */
  void cut(String text, Consumer<String> words) {
    cut(text, 0, words);
  }

  private void cut(String text, int level, Consumer<String> words) {
    if (text.isEmpty()) {
      return;
    }
    if (level == cuts.size()) {
      words.accept(text);
      return;
    }
    Cut cut = cuts.get(level);
    Matcher matcher = cut.pattern.matcher(text);
    int done = 0;
    while (matcher.find()) {
      if (cut.before) {
        cut(text.substring(done, matcher.start()), level + 1, words);
        done = matcher.start();
      }
      if (cut.after) {
        cut(text.substring(done, matcher.end()), level + 1, words);
        done = matcher.end();
      }
    }
    cut(text.substring(done), level + 1, words);
  }
}
