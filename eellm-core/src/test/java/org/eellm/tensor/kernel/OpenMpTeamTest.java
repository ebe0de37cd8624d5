package org.eellm.tensor.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.eellm.tensor.TensorException;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class OpenMpTeamTest {
  private final int threads = Torch.threads();

  @AfterEach
  void restoreThreads() {
    Torch.setThreads(threads);
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3})
  void run_anyThreads_doesEachIndexOnce(int members) {
    Torch.setThreads(members);

    for (int count : new int[] {0, 1, 5, 100, 101}) {
      int[] once = new int[count];
      Arrays.fill(once, 1);
      assertThat(visits(count)).isEqualTo(once);
    }
  }

  @Test
  void run_manyMembers_givesEachItsOwnNumber() {
    Torch.setThreads(3);
    AtomicIntegerArray visited = new AtomicIntegerArray(OpenMpTeam.size());

    OpenMpTeam.parallelFor(99, 1, (member, from, to) -> visited.addAndGet(member, to - from));

    int total = 0;
    for (int member = 0; member < visited.length(); member++) {
      total += visited.get(member);
    }
    assertThat(total).isEqualTo(99);
  }

  @Test
  void run_partThatFails_throwsInTheCaller() {
    Torch.setThreads(2);

    assertThatThrownBy(
            () ->
                OpenMpTeam.parallelFor(
                    2,
                    1,
                    (member, from, to) -> {
                      throw new IllegalStateException("broken");
                    }))
        .hasStackTraceContaining("broken");
    assertThat(visits(10)).containsOnly(1);
  }

  @Test
  void run_memberThatFailsElsewhere_throwsInTheCaller() {
    Torch.setThreads(2);
    Thread caller = Thread.currentThread();

    if (OpenMpTeam.size() == 2) {
      assertThatThrownBy(
              () ->
                  OpenMpTeam.parallelFor(
                      2,
                      1,
                      (member, from, to) -> {
                        if (Thread.currentThread() != caller) {
                          throw new IllegalStateException("broken");
                        }
                      }))
          .isInstanceOf(TensorException.class)
          .hasMessageContaining("broken");
    }
  }

  @Test
  void run_callersAtOnce_keepTheirWorkApart() throws Exception {
    List<Callable<int[]>> callers = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      int count = 50 + i;
      callers.add(
          () -> {
            Torch.setThreads(2);
            int[] sum = new int[count];
            for (int round = 0; round < 50; round++) {
              int[] visits = visits(count);
              for (int j = 0; j < count; j++) {
                sum[j] += visits[j];
              }
            }
            return sum;
          });
    }

    try (var pool = Executors.newFixedThreadPool(4)) {
      for (Future<int[]> sum : pool.invokeAll(callers)) {
        assertThat(sum.get()).containsOnly(50);
      }
    }
  }

  private static int[] visits(int count) {
    AtomicIntegerArray visits = new AtomicIntegerArray(count);
    OpenMpTeam.parallelFor(
        count,
        1,
        (member, from, to) -> {
          for (int i = from; i < to; i++) {
            visits.incrementAndGet(i);
          }
        });
    int[] result = new int[count];
    for (int i = 0; i < count; i++) {
      result[i] = visits.get(i);
    }
    return result;
  }
}
