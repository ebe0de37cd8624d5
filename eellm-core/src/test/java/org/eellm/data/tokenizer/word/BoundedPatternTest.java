package org.eellm.data.tokenizer.word;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import java.util.regex.Pattern;
import org.eellm.data.tokenizer.word.BoundedPattern.PatternException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class BoundedPatternTest {
  /** As the families' published files have them. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        // GPT-2, GPT-NeoX
        "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
        // Llama 3
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        // Qwen 2 and 3
        "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
            + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
        // GPT-4o, Llama 4, Mistral's Tekken
        "[^\\r"
            + "\\n"
            + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
            + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r"
            + "\\n"
            + "\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
            + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r"
            + "\\n"
            + "/]*|\\s*[\\r"
            + "\\n"
            + "]+|\\s+(?!\\S)|\\s+",
        // DeepSeek V3
        "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r"
            + "\\n"
            + "\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r"
            + "\\n"
            + "]*|\\s*[\\r"
            + "\\n"
            + "]+|\\s+(?!\\S)|\\s+",
        // DeepSeek LLM and Coder
        "[\\r\\n]",
        "\\s?[A-Za-zµÀ-ÖØ-öø-ƺ]+",
        "\\s?[!-/:-~！-／：-～‘-‟　-。]+",
        "\\s+$",
        "[一-龥ࠀ-一가-퟿]+",
        // BLOOM
        " ?[^(\\s|[.,!?…。，、।۔،])]+",
        // Falcon
        "[0-9][0-9][0-9]",
        // SentencePiece's, for blanks
        " {2,}",
        "\\s+",
      })
  void of_knownFamilies_isTaken(String expression) throws PatternException {
    assertThat(BoundedPattern.of(expression).ways()).isPositive();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '~',
      textBlock =
          """
          (a|a|aa)+$              ~ repeats (a|a|aa)
          (a*)*b                  ~ repeats without bound in the group (a*)
          (?:a+)?b                ~ repeats without bound in the group (?:a+)
          (?:a{1,20}){1,20}b      ~ repeats (?:a{1,20})
          a+b                     ~ repeats a before something that can fail
          \\s*x|\\s|\\s+          ~ repeats \\s before something that can fail
          a*a*a*b|a+              ~ two repetitions before something that can fail
          a*(?=b)|a+              ~ an alternative that matches nothing
          a+(?=b)                 ~ repeats a before something that can fail
          a*                      ~ an alternative that matches nothing
          a|                      ~ an alternative that matches nothing
          (a{0,50}){1}b           ~ repeats (a{0,50})
          a{0,50}a{0,50}a{0,50}b  ~ more than 300 ways
          (a)\\1                  ~ has \\1
          (?<x>a)\\g<x>           ~ has the group (?<x
          (?<=a)b                 ~ has the group (?<=
          (?i)a                   ~ has the group (?i)
          a+?b                    ~ repeats a+
          a**                     ~ repeats a*
          a{2}+                   ~ repeats a{2}
          a{999999}               ~ a { that is no count
          []a]                    ~ a class that begins with ]
          [a                      ~ a [ without its ]
          (a                      ~ a ( without its )
          a)                      ~ a ) without its (
          +                       ~ repeats
          \\X+                    ~ has \\X
          \\p{L                   ~ an escape without its {}
          """)
  void of_whatMayTakeTimeWithoutEnd_isRefused(String expression, String reason) {
    assertThatThrownBy(() -> BoundedPattern.of(expression.replace("\\\\", "\\")))
        .isInstanceOf(PatternException.class)
        .hasMessageContaining(reason.replace("\\\\", "\\"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"(", "|", "\\", "["})
  void of_deepOrLong_isRefused(String part) {
    assertThatThrownBy(() -> BoundedPattern.of(part.repeat(9_999)))
        .isInstanceOf(PatternException.class);
    assertThatThrownBy(() -> BoundedPattern.of(part.repeat(20_000)))
        .hasMessageContaining("longer than 10000");
  }

  @Test
  void of_blanksAtTheEnd_findsTheSameInLinearTime() throws PatternException {
    Pattern theirs = Pattern.compile("\\s+$", Pattern.MULTILINE | Pattern.UNIX_LINES);
    Pattern ours =
        Pattern.compile(
            BoundedPattern.of("\\s+$").expression(), Pattern.MULTILINE | Pattern.UNIX_LINES);
    assertThat(ours.pattern()).isNotEqualTo(theirs.pattern());
    for (int number = 0; number < 19_683; number++) { // all texts of nine characters of three
      String text = Integer.toString(number + 19_683, 3).replace('0', ' ').replace('1', '\n');
      assertThat(found(ours, text)).as(text).isEqualTo(found(theirs, text));
    }
  }

  private static List<String> found(Pattern pattern, String text) {
    return pattern.matcher(text).results().map(match -> match.start() + match.group()).toList();
  }
}
