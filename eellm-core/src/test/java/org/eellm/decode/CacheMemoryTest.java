package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.eellm.config.SettingException;
import org.eellm.decode.request.Limits;
import org.eellm.kernel.machine.MachineMemory;
import org.eellm.kernel.vector.NativeBuffer;
import org.junit.jupiter.api.Test;

/** Buffers that nobody writes to stand for the weights of large models: they take no memory. */
final class CacheMemoryTest extends WithSmallModel {
  private static final int POSITION_BYTES = 5 * 2 * 2 * 8 * 4; // layers, heads, their numbers

  /** Leaves so much of the machine's memory. */
  private static NativeBuffer allBut(long bytes) {
    return NativeBuffer.allocate(MachineMemory.left(1) - bytes);
  }

  @Test
  void limits_littleMemoryBesideWeights_shrinkAndHold() {
    int usual = Limits.of(model).cacheTokens();
    assertThat(usual).isEqualTo(16 * SmallModel.CONTEXT);

    long left = 1000L * POSITION_BYTES;
    try (NativeBuffer _ = allBut(left)) {
      Limits limits = Limits.of(model);
      assertThat(limits.cacheTokens()).isBetween(880, 900);
      limits.requireMemory(model);

      Limits tooMany = limits.withCacheTokens(2000);
      assertThatThrownBy(() -> tooMany.requireMemory(model))
          .isInstanceOf(SettingException.class)
          .hasMessageContaining("cache-tokens: 2000 positions take")
          .hasMessageContaining("use " + limits.cacheTokens() + " or fewer");
    }
    assertThat(Limits.of(model).cacheTokens()).isEqualTo(usual);
  }

  @Test
  void limits_lessThanATextOfTheContext_shrinkToo() {
    try (NativeBuffer _ = allBut(50L * POSITION_BYTES)) {
      Limits limits = Limits.of(model);
      assertThat(limits.cacheTokens()).isBetween(40, 45);
      limits.requireMemory(model);
    }
  }

  @Test
  void requireMemory_nothingLeft_namesTheRemedy() {
    try (NativeBuffer _ = allBut(0)) {
      assertThatThrownBy(() -> Limits.of(model).requireMemory(model))
          .isInstanceOf(SettingException.class)
          .hasMessageContaining("weights and Java's heap leave 0.0 of the machine's")
          .hasMessageContaining("give Java a smaller heap with EELLM_JAVA_OPTS=-Xmx256m");
    }
  }
}
