package org.eellm.data.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.eellm.data.tokenizer.BoundedPattern.PatternException;

/**
 * Changes a text as normalizers say, and cuts it into the words within which pairs are joined.
 *
 * @param changes one after the other, before all cuts
 * @param cuts one after the other, each within the parts of the one before
 */
record WordCutter(List<Change> changes, List<Cut> cuts) {
  /** GPT-2's words; blanks are Unicode's, as in the original. */
  static final Pattern GPT_2_WORD =
      Pattern.compile(
          "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
          Pattern.UNICODE_CHARACTER_CLASS);

  /** A category, behind {@code \\p}. */
  private static final Pattern CATEGORY = Pattern.compile("\\{[A-Z][a-z]?}");

  /** A change of a part of a text. */
  @FunctionalInterface
  interface Change {
    /**
     * @param first whether the part begins the text
     */
    String apply(String part, boolean first);
  }

  /**
   * A cut.
   *
   * @param before whether to cut before each match
   * @param after whether to cut behind each match
   * @param drops whether what is between matches is left out
   */
  record Cut(Pattern pattern, boolean before, boolean after, boolean drops) {
    static Cut around(String expression) {
      return new Cut(
          Pattern.compile(expression, Pattern.UNICODE_CHARACTER_CLASS), true, true, false);
    }
  }

  /**
   * What normalizers and pre-tokenizers do, each in their order; empty if one of them does what is
   * not done here.
   */
  static Optional<WordCutter> of(List<JsonNode> normalizers, List<JsonNode> words) {
    return changes(normalizers, words)
        .flatMap(changes -> cuts(words).map(cuts -> new WordCutter(changes, cuts)));
  }

  private static Optional<List<Change>> changes(List<JsonNode> normalizers, List<JsonNode> words) {
    List<Change> changes = new ArrayList<>();
    for (JsonNode part : normalizers) {
      switch (part.path("type").asText()) {
        case "NFC" -> changes.add((text, first) -> Normalizer.normalize(text, Normalizer.Form.NFC));
        case "Prepend" -> {
          String before = part.path("prepend").asText();
          changes.add((text, first) -> text.isEmpty() ? text : before + text);
        }
        case "Replace" -> {
          String from = part.path("pattern").path("String").asText();
          String to = part.path("content").asText();
          if (from.isEmpty()) {
            return Optional.empty();
          }
          changes.add((text, first) -> text.replace(from, to));
        }
        default -> {
          return Optional.empty();
        }
      }
    }
    for (JsonNode part : words) {
      boolean blank = part.path("add_prefix_space").asBoolean(true);
      switch (part.path("type").asText()) {
        case "Metaspace" -> {
          String replacement = part.path("replacement").asText("\u2581");
          String scheme = part.path("prepend_scheme").asText(blank ? "always" : "never");
          changes.add(
              (text, first) -> {
                String replaced = text.replace(" ", replacement);
                boolean before = scheme.equals("always") || (scheme.equals("first") && first);
                return before && !replaced.startsWith(replacement)
                    ? replacement + replaced
                    : replaced;
              });
        }
        case "ByteLevel" -> {
          if (blank) {
            changes.add((text, first) -> text.startsWith(" ") ? text : " " + text);
          }
        }
        default -> {
          continue;
        }
      }
      if (words.size() > 1 && !(part.path("type").asText().equals("ByteLevel") && !blank)) {
        return Optional.empty(); // it changes what another has cut
      }
    }
    return Optional.of(List.copyOf(changes));
  }

  private static Optional<List<Cut>> cuts(List<JsonNode> words) {
    List<Cut> cuts = new ArrayList<>();
    for (JsonNode part : words) {
      switch (part.path("type").asText()) {
        case "ByteLevel" -> {
          if (part.path("use_regex").asBoolean(true)) {
            cuts.add(new Cut(GPT_2_WORD, true, true, false));
          }
        }
        case "Metaspace" -> {
          if (part.path("split").asBoolean(true)) {
            String replacement = part.path("replacement").asText("\u2581");
            cuts.add(new Cut(Pattern.compile(replacement, Pattern.LITERAL), true, false, false));
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
    return Optional.of(List.copyOf(cuts));
  }

  private static Optional<Cut> split(JsonNode part) {
    String behavior = part.path("behavior").asText();
    boolean isolated = behavior.equals("Isolated");
    boolean drops = behavior.equals("Removed") && part.path("invert").asBoolean();
    if ((part.path("invert").asBoolean() && !drops)
        || !(isolated
            || drops
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
                  isolated || drops || behavior.equals("MergedWithNext"),
                  isolated || drops || behavior.equals("MergedWithPrevious"),
                  drops))
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

  /** Whether a text stays as it is. */
  boolean changesNothing() {
    return changes.isEmpty();
  }

  /**
   * The changed part of a text.
   *
   * @param first whether it begins the text
   */
  String changed(String part, boolean first) {
    String changed = part;
    for (Change change : changes) {
      changed = change.apply(changed, first);
    }
    return changed;
  }

  /**
   * Gives the words of a part of a text in their order; none is empty.
   *
   * @param first whether it begins the text
   */
  void cut(String part, boolean first, Consumer<String> words) {
    cut(changed(part, first), 0, words);
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
        if (!cut.drops) {
          cut(text.substring(done, matcher.start()), level + 1, words);
        }
        done = matcher.start();
      }
      if (cut.after) {
        cut(text.substring(done, matcher.end()), level + 1, words);
        done = matcher.end();
      }
    }
    if (!cut.drops) {
      cut(text.substring(done), level + 1, words);
    }
  }
}
