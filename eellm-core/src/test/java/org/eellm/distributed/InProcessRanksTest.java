package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Ranks as threads: results, threads and failures. */
@Timeout(60)
final class InProcessRanksTest {
  private static final Duration LONG = Duration.ofMinutes(10);

  @Test
  void run_returnsResultsInRankOrder() {
    assertThat(InProcessRanks.run(new Mesh(2, 1, 2), World::rank)).containsExactly(0, 1, 2, 3);
  }

  @Test
  void run_withThreads_setsThemInEachRank() {
    List<Integer> threads = InProcessRanks.run(new Mesh(2, 1, 1), 3, LONG, _ -> Torch.threads());

    assertThat(threads).containsExactly(3, 3);
  }

  @Test
  void run_ofOneRank_needsNoOther() {
    assertThat(InProcessRanks.run(Mesh.ONE, world -> world.all().size())).containsExactly(1);
  }

  @Test
  void run_aRankThrowsWhileOthersWait_isNamedAndAllEnd() {
    assertThatThrownBy(
            () ->
                InProcessRanks.run(
                    new Mesh(2, 1, 2),
                    1,
                    LONG,
                    world -> {
                      if (world.rank() == 2) {
                        throw new IllegalStateException("out of luck");
                      }
                      world.all().barrier();
                      return 0;
                    }))
        .isInstanceOf(DistributedException.class)
        .hasMessage("rank 2 (tp 0, dp 0, pp 1): out of luck")
        .cause()
        .isInstanceOf(IllegalStateException.class);
  }

  @Test
  void run_aRankThrowsWithOperationsUnderWay_endsAll() {
    assertThatThrownBy(
            () ->
                InProcessRanks.run(
                    new Mesh(1, 2, 1),
                    1,
                    LONG,
                    world -> {
                      try (Scope scope = Scope.open()) {
                        Tensor mine = Tensors.zeros(ScalarType.Float, Torch.cpu(), 4);
                        Tensor other = Tensors.zeros(ScalarType.Float, Torch.cpu(), 4);
                        if (world.rank() == 1) {
                          world.dp().allReduce(mine, Reduction.SUM);
                          world.all().receive(other, 0, 1);
                          throw new IllegalStateException("out of luck");
                        }
                        world.all().receive(other, 1, 1).await();
                        return 0;
                      }
                    }))
        .hasMessage("rank 1 (tp 0, dp 1, pp 0): out of luck");
  }

  @Test
  void await_ofARankThatNeverComes_saysWhereItIs() {
    assertThatThrownBy(
            () ->
                InProcessRanks.run(
                    new Mesh(1, 2, 1),
                    1,
                    Duration.ofSeconds(1),
                    world -> {
                      try (Scope scope = Scope.open()) {
                        Tensor mine = Tensors.zeros(ScalarType.Float, Torch.cpu(), 4);
                        if (world.rank() == 0) {
                          world.dp().allReduce(mine, Reduction.SUM).await();
                        } else {
                          sleep(Duration.ofSeconds(2));
                        }
                        return 0;
                      }
                    }))
        .hasMessageContaining("all-reduce of 16 B over dp was not done within 1.0 s")
        .hasMessageContaining("rank 1 (tp 0, dp 1, pp 0) is alive, in none of these operations");
  }

  private static void sleep(Duration duration) {
    try {
      Thread.sleep(duration);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }
}
