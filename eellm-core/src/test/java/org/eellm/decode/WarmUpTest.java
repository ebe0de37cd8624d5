package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import org.eellm.kernel.machine.RowFunctions;
import org.eellm.kernel.machine.Threads;
import org.junit.jupiter.api.Test;

class WarmUpTest {
  private int asked;

  @Test
  void run_goesOn_decodesAllSteps() {
    WarmUp.run(
        () -> {
          asked++;
          return true;
        });

    assertThat(asked).isGreaterThan(RowFunctions.work() ? 900 : -1).isLessThan(1000);
  }

  @Test
  void run_toldToStop_stops() {
    WarmUp.run(() -> ++asked < 20);

    assertThat(asked).isEqualTo(RowFunctions.work() ? 20 : 0);
  }

  @Test
  void run_anyway_leavesThreadsAsTheyWere() {
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
