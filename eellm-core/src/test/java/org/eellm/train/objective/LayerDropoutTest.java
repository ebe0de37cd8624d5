package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;

class LayerDropoutTest {

  @Test
  void rates_threeLayers_growExponentially() {
    assertThat(LayerDropout.rates(0.2, 3))
        .containsExactly(new double[] {0, 0.2 * (Math.sqrt(2) - 1), 0.2}, within(1e-15));
  }

  @Test
  void rates_manyLayers_ascendFromZeroToTheMaximum() {
    double[] rates = LayerDropout.rates(0.1, 32);
    assertThat(rates).hasSize(32).isSorted();
    assertThat(rates[0]).isZero();
    assertThat(rates[31]).isEqualTo(0.1);
  }

  @Test
  void rates_oneLayer_isTheMaximum() {
    assertThat(LayerDropout.rates(0.1, 1)).containsExactly(0.1);
  }

  @Test
  void rates_off_areZero() {
    assertThat(LayerDropout.rates(0, 4)).containsExactly(0, 0, 0, 0);
  }
}
