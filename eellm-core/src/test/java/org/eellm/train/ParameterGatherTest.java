package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.RunConfig;
import org.eellm.distributed.ForwardingCommunicator;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.OneThread;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.optimizer.GradientReduction;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** New parameters come from other replicas while the first layers of the next step run. */
@ExtendWith(OneThread.class)
final class ParameterGatherTest {
  @TempDir Path folder;

  /** A group that counts the gathers that were started and not awaited. */
  private static final class Counted extends ForwardingCommunicator {
    private final AtomicInteger underWay;

    Counted(Communicator group, AtomicInteger underWay) {
      super(group);
      this.underWay = underWay;
    }

    @Override
    public WorkHandle allGather(Tensor out, Tensor in) {
      WorkHandle gather = super.allGather(out, in);
      underWay.incrementAndGet();
      return () -> {
        gather.await();
        underWay.decrementAndGet();
      };
    }
  }

  @Test
  void awaitParameters_ofABranch_leavesLaterOnesOnTheirWay() {
    RunConfig config = TinyRun.config(folder, "parallel.dp=2", "train.micro_batch_size=1");
    AtomicInteger[] underWay = {new AtomicInteger(), new AtomicInteger()};
    List<List<Integer>> left =
        InProcessRanks.run(
            new Mesh(1, 2, 1),
            1,
            Duration.ofMinutes(1),
            InProcessRanks::transport,
            (members, group) ->
                members.name().equals("dp") ? new Counted(group, underWay[members.rank()]) : group,
            world -> {
              List<Integer> counts = new ArrayList<>();
              try (TrainState state = TrainState.initial(config, world);
                  Gradients gradients = new Gradients(state.model().parameters());
                  GradientReduction reduction =
                      new GradientReduction(
                          state.model(), world, config.stageLayout(), gradients, 4000);
                  Scope scope = Scope.open()) {
                Tensor flat = state.model().parameters().flat();
                float[] before = Tensors.toFloats(flat);
                reduction.gatherParameters();
                counts.add(underWay[world.rank()].get());
                for (int branch = -1; branch <= 8; branch++) {
                  reduction.awaitParameters(branch);
                  counts.add(underWay[world.rank()].get());
                }
                reduction.awaitParameters();
                assertThat(Tensors.toFloats(flat)).isEqualTo(before);
              }
              return counts;
            });
    assertThat(left.getFirst()).isEqualTo(left.getLast());
    List<Integer> counts = left.getFirst();
    assertThat(counts.getFirst()).isGreaterThan(8);
    assertThat(counts.get(2)).as("behind the first branch").isGreaterThan(counts.getFirst() / 2);
    assertThat(counts).isSortedAccordingTo((a, b) -> b - a);
    assertThat(counts.getLast()).isZero();
  }
}
