package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.eellm.kernel.machine.Threads;
import org.eellm.kernel.row.RowKernel;
import org.junit.jupiter.api.Test;

class WarmUpTest {
  private static final boolean HAS_MACHINE_CODE = RowKernel.isMachineCode();

  private int asked;

  @Test
  void run_neverStopped_endsByItself() {
    assumeTrue(HAS_MACHINE_CODE, "decodes by the Vector API here");

    WarmUp.run(
        () -> {
          asked++;
          return true;
        });

    assertThat(asked).isBetween(1000, 1010);
  }

  @Test
  void run_stopped_ends() {
    assumeTrue(HAS_MACHINE_CODE, "decodes by the Vector API here");

    WarmUp.run(() -> ++asked < 20);

    assertThat(asked).isEqualTo(20);
  }

  @Test
  void run_withoutMachineCode_doesNothing() {
    assumeFalse(HAS_MACHINE_CODE, "decodes by machine code here");

    WarmUp.run(() -> ++asked < 20);

    assertThat(asked).isZero();
  }

  @Test
  void run_afterwards_threadCountIsThatOfBefore() {
    assumeTrue(HAS_MACHINE_CODE, "decodes by the Vector API here");
    int threads = Threads.count();
    try {
      Threads.set(3);
      WarmUp.run(() -> ++asked < 3);

      assertThat(Threads.count()).isEqualTo(3);
    } finally {
      Threads.set(threads);
    }
  }
}
