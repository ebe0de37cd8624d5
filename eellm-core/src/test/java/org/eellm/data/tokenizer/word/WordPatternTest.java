package org.eellm.data.tokenizer.word;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class WordPatternTest {
  private static final String[] PARTS = {
    "a",
    "Zebra",
    "s",
    "'s",
    "'LL",
    "'re",
    "\u017F",
    "'\u017F",
    "\u01C5",
    "\u02B0",
    "\u0301",
    "7",
    "1234567",
    "\u0663",
    "\u2167",
    " ",
    "  ",
    "\n",
    "\r\n",
    "\t",
    "\u00A0",
    "\u2003",
    "\u200B",
    "\u0085",
    ".",
    "...",
    "$+",
    "\u00E9",
    "\u65E5\u672C",
    "\uD83E\uDD99",
    "\uD835\uDC00",
    "\uDBFF\uDFFF",
    "\uD800",
    "/",
    "_",
    "'",
    "\u2019s"
  };

  @ParameterizedTest
  @ValueSource(
      strings = {
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+"
            + "| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s*[\\r\\n]|\\s+(?!\\S)|\\s",
        "[^\\r"
            + "\\n"
            + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r"
            + "\\n"
            + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"
            + "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}|"
            + " ?[^\\s\\p{L}\\p{N}]+[\\r"
            + "\\n"
            + "/]*|\\s*[\\r"
            + "\\n"
            + "]+|\\s+(?!\\S)|\\s+",
        "\\p{N}",
        "[0-9]{2,}(?=\\s)|[a-z]{3}",
      })
  void next_anyText_findsWhatJavaFinds(String expression) {
    WordPattern pattern = WordPattern.of(expression).orElseThrow();
    Pattern java = Pattern.compile(expression, Pattern.UNICODE_CHARACTER_CLASS);
    Random random = new Random(1);
    for (int i = 0; i < 2000; i++) {
      StringBuilder text = new StringBuilder();
      for (int parts = random.nextInt(20); parts > 0; parts--) {
        text.append(PARTS[random.nextInt(PARTS.length)]);
      }
      assertThat(words(pattern, text.toString()))
          .isEqualTo(java.matcher(text).results().map(MatchResult::group).toList());
    }
  }

  private static List<String> words(WordPattern pattern, String text) {
    List<String> words = new ArrayList<>();
    for (long word = pattern.next(text, 0, text.length());
        word >= 0;
        word = pattern.next(text, (int) word, text.length())) {
      words.add(text.substring((int) (word >>> Integer.SIZE), (int) word));
    }
    return words;
  }

  @Test
  void next_partOfAText_seesNothingAround() {
    WordPattern pattern = WordPattern.of("\\s+(?!\\S)|[a-z]+").orElseThrow();
    String text = "ab  cd";
    assertThat(pattern.next(text, 1, 4)).isEqualTo(1L << Integer.SIZE | 2);
    assertThat(pattern.next(text, 2, 4)).isEqualTo(2L << Integer.SIZE | 4);
    assertThat(pattern.next(text, 2, 6)).isEqualTo(2L << Integer.SIZE | 3);
  }

  @Test
  void literal_anyText_isFoundAsItIs() {
    String text = "a[.\uD83E\uDD99";
    assertThat(words(WordPattern.literal(text), "ba[.\uD83E\uDD99a[a[.\uD83E\uDD99"))
        .containsExactly(text, text);
  }

  /** What the tokenizers library has to search for. */
  @ParameterizedTest
  @ValueSource(strings = {"a(?:b|c)d", "(?>ab)", "^a", "a$", "a.", "[a[b]]", "(a)", "a(?=bc)"})
  void of_formThatTokenizersDoNotHave_isEmpty(String expression) {
    assertThat(WordPattern.of(expression)).isEmpty();
  }
}
