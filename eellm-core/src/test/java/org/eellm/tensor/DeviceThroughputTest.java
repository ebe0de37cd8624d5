package org.eellm.tensor;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class DeviceThroughputTest {
  @Test
  void slowBfloat16_namesTheFormatThatIsFaster() {
    assertThat(DeviceThroughput.slowBfloat16(20e9, 120e9))
        .hasValueSatisfying(
            line ->
                assertThat(line)
                    .contains("bfloat16 at 20 GFLOP/s and float32 at 120")
                    .contains("model.dtype=float32"));
    assertThat(DeviceThroughput.slowBfloat16(500e9, 120e9)).isEmpty();
  }
}
