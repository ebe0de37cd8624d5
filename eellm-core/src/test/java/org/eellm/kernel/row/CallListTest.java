package org.eellm.kernel.row;

import static org.assertj.core.api.Assertions.assertThat;

import java.lang.foreign.ValueLayout;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeNumbers;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

final class CallListTest {
  private static final NativeFunction FILL = NativeFunction.ofSystem("memset").orElseThrow();
  private static final NativeFunction ABSOLUTE = NativeFunction.ofSystem("labs").orElseThrow();

  @BeforeEach
  void requireMachineCode() {
    Assumptions.assumeTrue(
        RowKernel.isMachineCode(), "this processor runs no machine code of eellm");
  }

  @Test
  void run_severalCalls_givesWhatTheLastReturns() {
    CallList calls = new CallList();
    calls.add(ABSOLUTE, -7, 0, 0, 0, 0, 0, 0, 0);
    calls.add(ABSOLUTE, -5_000_000_000L, 0, 0, 0, 0, 0, 0, 0);

    assertThat(calls.run()).isEqualTo(5_000_000_000L);
  }

  @Test
  void run_again_makesNoCallTwice() {
    CallList calls = new CallList();
    calls.add(ABSOLUTE, -7, 0, 0, 0, 0, 0, 0, 0);
    calls.run();

    assertThat(calls.run()).isZero();
  }

  @Test
  void run_moreCallsThanThereIsRoomFor_makesAllInTheirOrder() {
    int count = 200;
    CallList calls = new CallList();
    try (NativeBuffer memory = NativeBuffer.allocate(count + 1)) {
      for (int i = 0; i < count; i++) {
        calls.add(FILL, memory.address() + i, i, 2, 0, 0, 0, 0, 0); // the next call overwrites one
      }
      calls.run();

      for (int i = 0; i < count; i++) {
        byte found = NativeNumbers.MEMORY.get(ValueLayout.JAVA_BYTE, memory.address() + i);
        assertThat(found).as("number %d", i).isEqualTo((byte) i);
      }
    }
  }
}
