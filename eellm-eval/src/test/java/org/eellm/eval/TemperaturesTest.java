package org.eellm.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.stream.DoubleStream;
import org.junit.jupiter.api.Test;

final class TemperaturesTest {
  @Test
  void lowest_ofAParabolaInTheLogarithm_isItsVertex() {
    double[] candidates = {0.5, 1, 2, 4, 8};
    double[] values =
        DoubleStream.of(candidates).map(x -> Math.pow(Math.log(x / 2.7), 2) + 3).toArray();

    assertThat(Temperatures.lowest(candidates, values)).isCloseTo(2.7, within(1e-9));
    assertThat(Temperatures.lowest(candidates, new double[] {1, 2, 3, 4, 5})).isEqualTo(0.5);
    assertThat(Temperatures.lowest(candidates, new double[] {5, 4, 3, 2, 1})).isEqualTo(8);
  }
}
