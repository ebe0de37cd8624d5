package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.data.SampleSource;
import org.junit.jupiter.api.Test;

final class MicrobatchTest {
  /** Samples of their own indices, which keep the order in which they are asked. */
  private record Asked(List<Long> indices) implements SampleSource {
    @Override
    public int sequenceLength() {
      return 2;
    }

    @Override
    public long samplesPerEpoch() {
      return 100;
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      indices.add(index);
      Arrays.setAll(into, i -> i < offset || i > offset + 2 ? into[i] : (int) (10 * index) + i);
    }

    @Override
    public void lossMask(long index, float[] into, int offset) {
      indices.add(index);
      into[offset + 1] = 1;
    }

    @Override
    public void starts(long index, int[] inputs, int[] into, int offset) {
      indices.add(index);
      into[offset + 1] = inputs[offset];
    }
  }

  /** A blend finds what is before the last sample by counting from far back. */
  @Test
  void of_severalSamples_neverGoesBack() {
    Asked source = new Asked(new ArrayList<>());
    Microbatch batch = Microbatch.of(source, 3, 2);

    assertThat(source.indices).isSorted();
    assertThat(batch.inputs()).containsExactly(30, 31, 40, 41);
    assertThat(batch.targets()).containsExactly(31, 32, 41, 42);
    assertThat(batch.lossMask()).containsExactly(0, 1, 0, 1);
    assertThat(batch.starts()).containsExactly(0, 30, 0, 40);
  }
}
