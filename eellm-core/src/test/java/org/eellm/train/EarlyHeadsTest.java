package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.NcclOrder;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.Trace;
import org.eellm.train.objective.Received;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Heads of a stage whose gradient is sent only after they have run. */
final class EarlyHeadsTest {
  private static final int MICROBATCHES = 4;
  private static final long ROWS = 2;
  private static final long WIDTH = 3;

  /**
   * @param headsRun on the first stage, by microbatch; the second sends no gradient before
   * @param heads microbatches whose heads ran here
   */
  private record WaitingStage(int stage, List<CountDownLatch> headsRun, List<Integer> heads)
      implements ScheduleExecutor.StageCompute {
    @Override
    public Tensor forward(MicrobatchId microbatch, int chunk, Received input) {
      return stream();
    }

    @Override
    public boolean hasEarlyHeads(int chunk) {
      return true;
    }

    @Override
    public void backwardHeads(MicrobatchId microbatch, int chunk) {
      heads.add(microbatch.index());
      headsRun.get(microbatch.index()).countDown();
    }

    @Override
    public Optional<Tensor> backward(
        MicrobatchId microbatch, int chunk, Received gradient, boolean last) {
      if (stage == 0) {
        return Optional.empty();
      }
      try {
        assertThat(headsRun.get(microbatch.index()).await(20, TimeUnit.SECONDS))
            .as("heads of %s before its gradient", microbatch)
            .isTrue();
      } catch (InterruptedException e) {
        throw new IllegalStateException(e);
      }
      return Optional.of(stream());
    }

    @Override
    public void backwardWeights(MicrobatchId microbatch, int chunk) {}

    @Override
    public Tensor tune(MicrobatchId microbatch, int chunk, Received input) {
      throw new IllegalStateException("no tuning");
    }

    private static Tensor stream() {
      return Tensors.zeros(ScalarType.Double, Torch.cpu(), ROWS, WIDTH);
    }
  }

  private static List<Integer> run(Schedule schedule, World world, List<CountDownLatch> headsRun) {
    WaitingStage stage = new WaitingStage(world.coordinate().pp(), headsRun, new ArrayList<>());
    ScheduleExecutor.run(
        schedule,
        world.transport(),
        new ScheduleExecutor.StageTensorSpec(ScalarType.Double, world.device(), ROWS, ROWS, WIDTH),
        stage,
        new Trace.Off());
    return stage.heads();
  }

  @ParameterizedTest
  @EnumSource(names = {"ONE_F_ONE_B", "ZERO_BUBBLE", "ALL_FORWARD_ALL_BACKWARD"})
  void run_headsOfTheFirstStage_runBeforeTheirGradientComes(ScheduleKind kind) {
    Schedule schedule = Schedules.emit(kind, 2, 1, MICROBATCHES);
    List<CountDownLatch> headsRun =
        Stream.generate(() -> new CountDownLatch(1)).limit(MICROBATCHES).toList();

    List<List<Integer>> heads =
        NcclOrder.run(new Mesh(1, 1, 2), world -> run(schedule, world, headsRun));

    assertThat(heads.get(0)).containsExactlyInAnyOrder(0, 1, 2, 3);
    assertThat(heads.get(1)).as("heads without a gradient to wait for").isEmpty();
  }
}
