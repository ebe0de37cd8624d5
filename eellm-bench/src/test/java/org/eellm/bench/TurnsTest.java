package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.eellm.bench.Turns.Figure;
import org.junit.jupiter.api.Test;

final class TurnsTest {

  @Test
  void take_twoFigures_takeTurnsAndWarmUp() {
    List<Double> asked = new ArrayList<>();
    Turns turns = new Turns();
    Figure first = turns.add(() -> note(asked, asked.size() + 1.0));
    Figure second = turns.add(() -> note(asked, 10));

    turns.take(1, 3);

    assertThat(asked).containsExactly(1.0, 10.0, 3.0, 10.0, 5.0, 10.0, 7.0, 10.0);
    assertThat(first.median()).isEqualTo(5);
    assertThat(second.over(first)).isEqualTo(2);
  }

  private static double note(List<Double> asked, double value) {
    asked.add(value);
    return value;
  }
}
