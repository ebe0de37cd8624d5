package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.CommunicatorFactory;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.StreamBackend;
import org.eellm.distributed.collective.StreamBackend.Calls;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** What ends waits, on every transport, where no connection breaks and nothing else would. */
@Timeout(60)
final class WatchdogTest {
  private final Calls calls = Calls.none();

  private <T> List<T> run(String transport, int ranks, Duration timeout, Function<World, T> body) {
    Function<RendezvousStore, CommunicatorFactory> factory =
        store ->
            transport.equals(RankMain.STREAM)
                ? StreamBackend.factory(store, calls)
                : new CommunicatorFactory(DistributedBackend.valueOf(transport), store, 0);
    return InProcessRanks.run(
        new Mesh(1, ranks, 1), 1, timeout, factory, (_, group) -> group, body);
  }

  @ParameterizedTest
  @ValueSource(strings = {"CPU", "GLOO", RankMain.STREAM})
  void await_longerThanTheTimeout_namesOperationAndPeers(String transport) {
    CountDownLatch ended = new CountDownLatch(1);
    assertThatThrownBy(
            () ->
                run(
                    transport,
                    2,
                    Duration.ofSeconds(3),
                    world -> {
                      if (world.rank() == 0) {
                        try {
                          sum(world);
                        } finally {
                          ended.countDown();
                        }
                      } else {
                        awaitLatch(ended);
                      }
                      return 0;
                    }))
        .hasMessageContaining("all-reduce of 16 B over dp was not done within 3.0 s")
        .hasMessageContaining("rank 1 (tp 0, dp 1, pp 0) is alive, in none of these operations");
  }

  private static void sum(World world) {
    try (Scope scope = Scope.open()) {
      Tensor mine = Tensors.zeros(ScalarType.Float, Torch.cpu(), 4);
      world.dp().allReduce(mine, Reduction.SUM).await();
    }
  }

  /** Neither of the two who wait for each other is connected with the one that fails. */
  @ParameterizedTest
  @ValueSource(strings = {"CPU", "GLOO", RankMain.STREAM})
  void await_whileARankThatIsNotInvolvedFails_ends(String transport) {
    CountDownLatch ended = new CountDownLatch(1);
    assertThatThrownBy(
            () ->
                run(
                    transport,
                    3,
                    Duration.ofMinutes(10),
                    world -> {
                      switch (world.rank()) {
                        case 0 -> {
                          try (Scope scope = Scope.open()) {
                            Tensor into = Tensors.zeros(ScalarType.Float, Torch.cpu(), 4);
                            world.dp().receive(into, 1, 0).await();
                          } finally {
                            ended.countDown();
                          }
                        }
                        case 1 -> awaitLatch(ended);
                        default -> throw new IllegalStateException("out of luck");
                      }
                      return 0;
                    }))
        .hasMessage("rank 2 (tp 0, dp 2, pp 0): out of luck");
    assertThat(ended.getCount()).isZero();
  }

  private static void awaitLatch(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void close_afterAGoodRun_shutsEveryGroupDownAndAbortsNone() {
    run(
        RankMain.STREAM,
        2,
        Duration.ofMinutes(1),
        world -> {
          sum(world);
          return world.replicasOnStages(List.of(0)).size();
        });

    assertThat(calls.aborts()).hasValue(0);
    assertThat(calls.shutdowns()).hasValue(3 * 2); // all ranks, dp, and those on a stage
  }
}
