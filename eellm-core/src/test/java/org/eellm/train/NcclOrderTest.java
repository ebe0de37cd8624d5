package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.NcclOrder;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.schedule.Fills;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.Trace;
import org.eellm.train.objective.Received;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Schedules over messages that keep NCCL's rules. A virtual stage takes what it is handed times 2
 * and adds its number, so that a microbatch that misses one, or meets another's message, shows.
 */
final class NcclOrderTest {
  private static final long ROWS = 2;
  private static final long WIDTH = 3;

  /** What left the pipeline, by microbatch: up from the last virtual stage, down from the first. */
  private record Results(Map<Integer, Double> up, Map<Integer, Double> down) {
    Results() {
      this(new TreeMap<>(), new TreeMap<>());
    }
  }

  private record DoublingStage(Schedule schedule, int stage, Results results)
      implements ScheduleExecutor.StageCompute {
    @Override
    public Tensor forward(MicrobatchId microbatch, int chunk, Received input) {
      int here = schedule.virtualStage(stage, chunk);
      Tensor output = next(input, microbatch, here);
      if (here + 1 == microbatch.forwardEnd(schedule.virtualStages())) {
        results.up().put(microbatch.index(), Tensors.toDoubles(output)[0]);
      }
      return output;
    }

    @Override
    public Tensor tune(MicrobatchId microbatch, int chunk, Received input) {
      return forward(microbatch, chunk, input);
    }

    @Override
    public Optional<Tensor> backward(
        MicrobatchId microbatch, int chunk, Received gradient, boolean last) {
      int here = schedule.virtualStage(stage, chunk);
      Tensor output = next(gradient, microbatch, here);
      if (here > microbatch.backwardEnd()) {
        return Optional.of(output);
      }
      results.down().put(microbatch.index(), Tensors.toDoubles(output)[0]);
      return Optional.empty();
    }

    @Override
    public void backwardWeights(MicrobatchId microbatch, int chunk) {}

    private static Tensor next(Received input, MicrobatchId microbatch, int here) {
      double[] own = new double[(int) (ROWS * WIDTH)];
      Arrays.fill(own, microbatch.index());
      Tensor tensor = input.orElseGet(() -> Tensors.ofDoubles(own, Torch.cpu(), ROWS, WIDTH));
      return tensor.mul(new Scalar(2.0)).add(new Scalar((double) here));
    }
  }

  /** What a world of one computes. */
  private static Results alone(Schedule schedule) {
    Results results = new Results();
    for (MicrobatchId id : schedule.microbatchIds()) {
      int end = id.forwardEnd(schedule.virtualStages());
      double up = id.index();
      for (int here = 0; here < end; here++) {
        up = 2 * up + here;
      }
      results.up().put(id.index(), up);
      double down = id.index();
      for (int here = end - 1; here >= id.backwardEnd(); here--) {
        down = 2 * down + here;
      }
      if (schedule.kind() != ScheduleKind.TUNING) {
        results.down().put(id.index(), down);
      }
    }
    return results;
  }

  private static Results run(Schedule schedule, World world) {
    Results results = new Results();
    ScheduleExecutor.run(
        schedule,
        world.transport(),
        new ScheduleExecutor.StageTensorSpec(ScalarType.Double, world.device(), ROWS, ROWS, WIDTH),
        new DoublingStage(schedule, world.coordinate().pp(), results),
        new Trace.Off());
    return results;
  }

  @ParameterizedTest
  @CsvSource({"2", "4", "8"})
  void run_everyKindOfSchedule_endsWithTheNumbersOfAWorldOfOne(int stages) {
    List<Schedule> schedules =
        List.of(
            Schedules.emit(ScheduleKind.ALL_FORWARD_ALL_BACKWARD, stages, 1, stages + 1),
            Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, 2 * stages + 1),
            Schedules.emit(
                ScheduleKind.ONE_F_ONE_B,
                stages,
                1,
                stages + 2,
                new Fills(List.of(stages - 1, 1), List.of(1, stages - 1))),
            Schedules.emit(ScheduleKind.INTERLEAVED, stages, 2, 2 * stages),
            Schedules.emit(ScheduleKind.INTERLEAVED, stages, 4, 2 * stages),
            Schedules.emit(ScheduleKind.ZERO_BUBBLE, stages, 1, 2 * stages + 1),
            Schedules.emit(ScheduleKind.TUNING, stages, 1, stages + 1),
            Schedules.emit(ScheduleKind.TUNING, stages, 2, 2 * stages),
            Schedules.emit(ScheduleKind.TUNING, stages, 4, stages + 1));

    List<List<Results>> byRank =
        NcclOrder.run(
            new Mesh(1, 1, stages),
            world -> schedules.stream().map(schedule -> run(schedule, world)).toList());

    for (int i = 0; i < schedules.size(); i++) {
      Results all = new Results();
      for (List<Results> rank : byRank) {
        all.up().putAll(rank.get(i).up());
        all.down().putAll(rank.get(i).down());
      }
      assertThat(all)
          .as("%s, schedule %d", schedules.get(i).kind(), i)
          .isEqualTo(alone(schedules.get(i)));
    }
  }

  @ParameterizedTest
  @CsvSource({
    "ONE_F_ONE_B,2,1,4",
    "ONE_F_ONE_B,4,1,8",
    "ONE_F_ONE_B,8,1,8",
    "INTERLEAVED,2,2,4",
    "ZERO_BUBBLE,4,1,8",
    "ALL_FORWARD_ALL_BACKWARD,4,1,4"
  })
  void run_bothDirectionsInOneGroup_endsWithWhoWaitsForWhom(
      ScheduleKind kind, int stages, int chunks, int microbatches) {
    Schedule schedule = Schedules.emit(kind, stages, chunks, microbatches);

    assertThatThrownBy(
            () -> NcclOrder.runWithOneGroup(new Mesh(1, 1, stages), world -> run(schedule, world)))
        .isInstanceOf(DistributedException.class)
        .hasMessageMatching(
            ".*(rank \\d.* does (send|receive) .* next, and rank \\d.*: neither ever ends"
                + "|all ranks wait for each other).*");
  }

  /** Messages of a group whose ranks have not met yet, as they would be without the first ones. */
  @Test
  void run_ranksConnectWithinTheSchedule_endsWithAllWaiting() {
    Schedule schedule = Schedules.emit(ScheduleKind.ALL_FORWARD_ALL_BACKWARD, 2, 1, 3);

    assertThatThrownBy(
            () -> NcclOrder.runUnconnected(new Mesh(1, 1, 2), world -> run(schedule, world)))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining("all ranks wait for each other");
  }
}
