package org.eellm.data.tokenizer.word;

import com.fasterxml.jackson.databind.JsonNode;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.eellm.data.tokenizer.word.BoundedPattern.PatternException;

/**
 * Changes a text as normalizers say, and cuts it into the words within which pairs are joined.
 *
 * @param changes one after the other, before all cuts
 * @param cuts one after the other, each within the parts of the one before
 */
public record WordCutter(List<Change> changes, List<Cut> cuts) {
  /** GPT-2's words; blanks are Unicode's, as in the original. */
  public static final WordPattern GPT_2_WORD =
      WordPattern.of(
              "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+")
          .orElseThrow();

  /** What SentencePiece writes for a blank. */
  public static final String BLANK = "\u2581";

  private static final Cut BEFORE_BLANKS =
      Cut.around(WordPattern.of(BLANK + "*[^" + BLANK + "]+|" + BLANK + "+").orElseThrow());

  /** A category, behind {@code \\p}. */
  private static final Pattern CATEGORY = Pattern.compile("\\{[A-Z][a-z]?}");

  /** A change of a part of a text. */
  @FunctionalInterface
  public interface Change {
    /**
     * @param first whether the part begins the text
     */
    String apply(String part, boolean first);
  }

  /** Told of words. */
  @FunctionalInterface
  public interface Listener {
    /**
     * @param from where the word begins in the text
     * @param to where it ends
     */
    void word(String text, int from, int to);
  }

  /**
   * A cut.
   *
   * @param before whether to cut before each match
   * @param after whether to cut behind each match
   * @param drops whether what is between matches is left out
   */
  public record Cut(WordPattern pattern, boolean before, boolean after, boolean drops) {
    private static Cut around(WordPattern pattern) {
      return new Cut(pattern, true, true, false);
    }
  }

  /**
   * What normalizers and pre-tokenizers do, each in their order; empty if one of them does what is
   * not done here.
   */
  public static Optional<WordCutter> of(List<JsonNode> normalizers, List<JsonNode> words) {
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
          String replacement = part.path("replacement").asText(BLANK);
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
            cuts.add(Cut.around(GPT_2_WORD));
          }
        }
        case "Metaspace" -> {
          if (part.path("split").asBoolean(true)) {
            String replacement = part.path("replacement").asText(BLANK);
            cuts.add(new Cut(WordPattern.literal(replacement), true, false, false));
          }
        }
        case "Digits" -> {
          String digits = part.path("individual_digits").asBoolean() ? "\\p{N}" : "\\p{N}+";
          cuts.add(Cut.around(WordPattern.of(digits).orElseThrow()));
        }
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
    boolean before = !behavior.equals("MergedWithPrevious");
    boolean after = !behavior.equals("MergedWithNext");
    return pattern(part.path("pattern")).map(found -> new Cut(found, before, after, drops));
  }

  private static Optional<WordPattern> pattern(JsonNode pattern) {
    JsonNode literal = pattern.path("String");
    String expression = pattern.path("Regex").asText();
    try {
      return literal.isTextual()
          ? Optional.of(literal.asText()).filter(text -> !text.isEmpty()).map(WordPattern::literal)
          : Optional.of(BoundedPattern.of(expression).expression())
              .filter(WordCutter::isCommon)
              .flatMap(WordPattern::of);
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

  /** The same, with cuts before blanks where there were none. */
  public WordCutter orBeforeBlanks() {
    return cuts.isEmpty() ? new WordCutter(changes, List.of(BEFORE_BLANKS)) : this;
  }

  /** Whether a text stays as it is. */
  public boolean changesNothing() {
    return changes.isEmpty();
  }

  /**
   * The changed part of a text.
   *
   * @param first whether it begins the text
   */
  public String changed(String part, boolean first) {
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
  public void cut(String part, boolean first, Listener words) {
    String changed = changed(part, first);
    cut(changed, 0, changed.length(), 0, words);
  }

  private void cut(String text, int from, int to, int level, Listener words) {
    if (from == to) {
      return;
    }
    if (level == cuts.size()) {
      words.word(text, from, to);
      return;
    }
    Cut cut = cuts.get(level);
    int done = from;
    for (long match = cut.pattern.next(text, from, to);
        match >= 0;
        match = cut.pattern.next(text, (int) match, to)) {
      int start = (int) (match >>> Integer.SIZE);
      int end = (int) match;
      if (cut.before) {
        if (!cut.drops) {
          cut(text, done, start, level + 1, words);
        }
        done = start;
      }
      if (cut.after) {
        cut(text, done, end, level + 1, words);
        done = end;
      }
    }
    if (!cut.drops) {
      cut(text, done, to, level + 1, words);
    }
  }
}
