package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Random;
import org.eellm.config.yaml.EditDistance;
import org.junit.jupiter.api.Test;

final class HalfMethodTest {
  private static final String FILE =
      """
      class Sum {
        int sum(int[] numbers) {
          int sum = 0;
          assert numbers.length > 0;
          for (int number : numbers) {
            sum += number;
          }
          return sum;
        }

        int none() {
          return 0;
        }
      }
      """;

  private static HalfMethod half() {
    return HalfMethod.of(FILE, JavaMethods.of(FILE).getFirst()).orElseThrow();
  }

  @Test
  void of_method_isCutAtALineEndInItsMiddle() {
    HalfMethod half = half();

    assertThat(half.before())
        .endsWith("assert numbers.length > 0;\n    for (int number : numbers) {");
    assertThat(half.rest()).isEqualTo("\n      sum += number;\n    }\n    return sum;\n  }");
    assertThat(half.before() + half.rest() + half.after()).isEqualTo(FILE);
  }

  @Test
  void of_shortMethod_isNothing() {
    assertThat(HalfMethod.of(FILE, JavaMethods.of(FILE).getLast())).isEmpty();
  }

  @Test
  void figures_ofTheFilesOwnText_arePerfect() {
    HalfMethod half = half();

    assertThat(half.nextLineExact(half.rest())).isEqualTo(1);
    assertThat(half.nextLineSimilarity(half.rest())).isEqualTo(1);
    assertThat(half.similarity(half.rest())).isEqualTo(1);
    assertThat(half.parses(half.rest())).isEqualTo(1);
  }

  @Test
  void figures_ofOtherText_tellWhatIsWrong() {
    HalfMethod half = half();
    String unclosed = "\n  sum -= number;\n    return sum;\n  }";

    assertThat(half.nextLineExact(unclosed)).isZero();
    assertThat(half.nextLineSimilarity(unclosed)).isCloseTo(1 - 1.0 / 14, within(1e-12));
    assertThat(half.similarity(unclosed)).isStrictlyBetween(0.5, 1.0);
    assertThat(half.parses(unclosed)).isZero();
    assertThat(half.parses("\n      sum = 1;\n    }\n    return 2;\n  }")).isEqualTo(1);
    assertThat(half.parses("")).isZero();
  }

  @Test
  void complete_textBeyondTheMethod_endsWithIt() {
    HalfMethod half = half();
    String beyond = half.rest() + "\n\n  int other() {";

    assertThat(half.isComplete(beyond)).isTrue();
    assertThat(half.complete(beyond)).isEqualTo(half.rest());
    assertThat(half.isComplete("\n      sum += number;\n    }")).isFalse();
    assertThat(half.complete("\n    }")).isEqualTo("\n    }");
  }

  @Test
  void between_randomTexts_isWhatTheDefinitionSays() {
    Random random = new Random(1);
    assertThat(EditDistance.between("kitten", "sitting")).isEqualTo(3);
    assertThat(EditDistance.similarity("", "")).isEqualTo(1);
    for (int i = 0; i < 50; i++) {
      String one = text(random);
      String other = text(random);
      assertThat(EditDistance.between(one, other)).isEqualTo(byDefinition(one, other));
    }
  }

  private static String text(Random random) {
    StringBuilder text = new StringBuilder();
    random.ints(random.nextInt(6), 'a', 'd').forEach(text::appendCodePoint);
    return text.toString();
  }

  private static int byDefinition(String one, String other) {
    if (one.isEmpty() || other.isEmpty()) {
      return one.length() + other.length();
    }
    String shorterOne = one.substring(1);
    String shorterOther = other.substring(1);
    int changed = one.charAt(0) == other.charAt(0) ? 0 : 1;
    return Math.min(
        changed + byDefinition(shorterOne, shorterOther),
        1 + Math.min(byDefinition(shorterOne, other), byDefinition(one, shorterOther)));
  }
}
