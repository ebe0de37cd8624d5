package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.kernel.machine.MemoryBandwidth;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.matmul.MatmulKernel;
import org.eellm.kernel.matmul.MatmulThroughput;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The yardsticks give a rate, whatever they read or multiply. */
final class MeasuredRatesTest {
  @ParameterizedTest
  @ValueSource(longs = {64, 4 << 10, (1 << 20) + 192})
  void memoryRead_ofAnySize_readsAllOfItAtSomeRate(long bytes) {
    try (NativeBuffer memory = NativeBuffer.allocate(bytes);
        ThreadTeam alone = new ThreadTeam(1);
        ThreadTeam two = new ThreadTeam(2)) {
      assertThat(MemoryBandwidth.bytesPerSecond(alone, memory.address(), bytes, 0)).isPositive();
      assertThat(MemoryBandwidth.bytesPerSecond(two, memory.address(), bytes, 0)).isPositive();
    }
  }

  @ParameterizedTest
  @EnumSource(WeightFormat.class)
  void productRate_ofAnyFormat_isSomeRate(WeightFormat format) {
    try (ThreadTeam two = new ThreadTeam(2)) {
      assertThat(MatmulThroughput.operationsPerSecond(two, MatmulKernel.vectors(format), 0))
          .isPositive();
      assertThat(MatmulThroughput.operationsPerSecond(two, MatmulKernel.fastest(format), 0))
          .isPositive();
    }
  }
}
