package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.kernel.machine.MemoryBandwidth;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.NativeBuffer;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The yardstick gives a rate, whatever it reads. */
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
}
