package org.eellm.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.eellm.decode.exit.Gate;
import org.eellm.eval.GateFit.Sample;
import org.junit.jupiter.api.Test;

final class GateFitTest {

  /** Figures of other scales and means than 0 and 1, and one that never changes. */
  @Test
  void fit_samplesOfAKnownGate_findsItsWeights() {
    Random random = new Random(4);
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < 30_000; i++) {
      float[] figures = {
        (float) (2 + 3 * random.nextGaussian()),
        (float) (5 + random.nextGaussian()),
        (float) (0.1 * random.nextGaussian()),
        7
      };
      double z = -2 + 0.5 * figures[0] + 0.2 * figures[1] + 8 * figures[2];
      boolean agrees = random.nextDouble() < 1 / (1 + Math.exp(-z));
      samples.add(new Sample(i / 100, figures, agrees));
    }
    Gate gate = GateFit.fit(samples);

    assertThat(gate.logOdds()).isCloseTo(0.5, within(0.03));
    assertThat(gate.gap()).isCloseTo(0.2, within(0.05));
    assertThat((double) gate.hidden()[0]).isCloseTo(8, within(0.8));
    assertThat((double) gate.hidden()[1]).isCloseTo(0, within(1e-6));
    assertThat(gate.bias()).isCloseTo(-2, within(0.25));
  }

  @Test
  void fit_noSamples_isRefused() {
    assertThatThrownBy(() -> GateFit.fit(List.of()))
        .isInstanceOf(EvalException.class)
        .hasMessageContaining("no token to fit gates to");
  }
}
