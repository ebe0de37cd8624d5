package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.eval.sweep.JavaMethods.Method;
import org.junit.jupiter.api.Test;

final class JavaMethodsTest {
  private static final String SOURCE =
      """
      package p;

      class Point {
        final int x;

        Point(int x) {
          this.x = x;
        }

        abstract int missing();

        int one() { return 1; }

        /** Twice. */
        int twice() {
          return 2 * x;
        }
      }
      """;

  @Test
  void of_file_findsBodiesThatBeginOnTheirOwnLine() {
    assertThat(JavaMethods.of(SOURCE)).hasSize(2);
    Method last = JavaMethods.of(SOURCE).getLast();
    assertThat(last.before()).endsWith("/** Twice. */\n  int twice() {");
    assertThat(last.body()).isEqualTo("\n    return 2 * x;\n  }");
    assertThat(SOURCE).startsWith(last.before() + last.body());
  }

  @Test
  void of_brokenFile_isEmpty() {
    assertThat(JavaMethods.of(SOURCE + "}")).isEmpty();
  }
}
