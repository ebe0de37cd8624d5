package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.function.Predicate;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.Quantization;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.distributed.NcclOrder;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.golden.GoldenCase;
import org.eellm.model.ContextParallel;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.Dropout;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.Fills;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.CooldownFill;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.MicrobatchId.WarmupFill;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.metrics.Trace;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.optimizer.GradientReduction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * A filled pipeline's gradient is the weighted sum, written out here, of every microbatch's and
 * every head's gradient that one rank computes by itself: of the head on stage e for the parameters
 * of stage v, each counted token of a microbatch that goes through both counts, and the weights sum
 * to 1.
 */
final class FillGradientTest {
  private static final int MICROBATCHES = 4;

  @ParameterizedTest
  @CsvSource({
    "llama_last_stage_exit,4,'1 1',''",
    "llama_last_stage_exit,4,'','2 3 3'",
    "llama_last_stage_exit,4,'1','1 3'",
    "llama_mlp_norm,4,'3 1','2'",
    "llama_mlp_block_gqa,2,'1 1','1'",
  })
  void gradient_filledPipeline_isTheWeightedSumOfItsMicrobatches(
      String name, int stages, String warmup, String cooldown) {
    GoldenCase golden = GoldenCase.named(name);
    Schedule schedule =
        Schedules.emit(
            ScheduleKind.ONE_F_ONE_B,
            stages,
            1,
            MICROBATCHES,
            new Fills(numbers(warmup), numbers(cooldown)));
    StageLayout stageLayout =
        StageLayout.of(
            golden.architecture(), ParallelConfig.of(1, 1, stages), 16, Learning.EVERYTHING);
    List<Microbatch> batches = batches(golden, schedule.microbatchIds().size());
    Map<String, float[]> wanted = sum(golden, schedule, stageLayout, batches);
    Map<String, float[]> actual = new HashMap<>();
    NcclOrder.run(
            new Mesh(1, 1, stages), world -> rank(golden, schedule, stageLayout, batches, world))
        .forEach(actual::putAll);

    assertThat(actual.keySet()).isEqualTo(wanted.keySet());
    wanted.forEach(
        (parameter, values) -> {
          float[] others = Objects.requireNonNull(actual.get(parameter));
          double length = 0;
          double difference = 0;
          for (int i = 0; i < values.length; i++) {
            length += (double) values[i] * values[i];
            difference += Math.pow(values[i] - others[i], 2);
          }
          assertThat(Math.sqrt(difference / length)).as(parameter).isLessThan(1e-5);
        });
  }

  private static List<Integer> numbers(String text) {
    return text.isEmpty()
        ? List.of()
        : Arrays.stream(text.split(" ", -1)).map(Integer::parseInt).toList();
  }

  /** The case's microbatches with their tokens rotated in ever other ways. */
  private static List<Microbatch> batches(GoldenCase golden, int count) {
    List<Microbatch> all = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      Microbatch batch = golden.inputs().get(i % golden.microbatches());
      all.add(
          new Microbatch(
              batch.batch(),
              batch.sequence(),
              rotated(batch.inputs(), i),
              rotated(batch.targets(), i),
              answers(batch.inputs().length, i),
              batch.starts()));
    }
    return all;
  }

  /** A mask that counts more in each microbatch than in the one before it. */
  private static float[] answers(int length, int number) {
    float[] mask = new float[length];
    for (int i = 0; i < length; i++) {
      mask[i] = i % (number + 3) > 1 ? 1 : 0;
    }
    return mask;
  }

  private static int[] rotated(int[] values, int by) {
    int[] rotated = new int[values.length];
    for (int i = 0; i < values.length; i++) {
      rotated[i] = values[(i + 7 * by) % values.length];
    }
    return rotated;
  }

  /** The expectation: one rank, one microbatch and one head at a time. */
  private static Map<String, float[]> sum(
      GoldenCase golden, Schedule schedule, StageLayout stageLayout, List<Microbatch> batches) {
    Map<String, float[]> total = new HashMap<>();
    Objective objective = golden.objective();
    try (Scope scope = Scope.open();
        Decoder model = golden.model();
        Gradients gradients = new Gradients(model.parameters())) {
      StageExecutor chain = new StageExecutor(model, Recompute.NONE);
      for (MicrobatchId id : schedule.microbatchIds()) {
        for (int head = 0; head < objective.weights().size(); head++) {
          List<Double> only = new ArrayList<>(objective.weights().stream().map(w -> 0.0).toList());
          only.set(head, objective.weights().get(head));
          gradients.start();
          chain.forwardBackward(
              batches.get(id.index()),
              new Objective(only, objective.temperatures(), objective.dynamicTokenWeights(), 0),
              1,
              Dropout.NONE,
              gradients);
          gradients.finish();
          int e = stageOf(golden, stageLayout, head);
          for (Parameter parameter : model.parameters().all()) {
            int v = stageOf(golden, stageLayout, parameter.name());
            float weight = (float) weight(id, e, v, schedule, batches);
            float[] values = Tensors.toFloats(parameter.of(gradients.flat()));
            float[] sum = total.computeIfAbsent(parameter.name(), _ -> new float[values.length]);
            for (int i = 0; i < values.length; i++) {
              sum[i] += weight * values[i];
            }
          }
        }
      }
    }
    return total;
  }

  /** What a microbatch counts in the gradient of a head on stage e for parameters on stage v. */
  private static double weight(
      MicrobatchId id, int e, int v, Schedule schedule, List<Microbatch> batches) {
    double regular = tokens(schedule, batches, other -> other instanceof Regular);
    double through =
        tokens(schedule, batches, other -> other instanceof WarmupFill fill && fill.stages() > e);
    double back =
        tokens(
            schedule,
            batches,
            other -> other instanceof CooldownFill fill && fill.firstStage() <= v);
    double own = batches.get(id.index()).counted();
    double rest = own * regular / (regular + back) / (regular + through);
    return switch (id) {
      case Regular _ -> rest;
      case WarmupFill fill -> fill.stages() > e ? rest : 0;
      case CooldownFill fill -> fill.firstStage() <= v ? own / (regular + back) : 0;
    };
  }

  private static double tokens(
      Schedule schedule, List<Microbatch> batches, Predicate<MicrobatchId> wanted) {
    return schedule.microbatchIds().stream()
        .filter(wanted)
        .mapToDouble(id -> batches.get(id.index()).counted())
        .sum();
  }

  private static int stageOf(GoldenCase golden, StageLayout stageLayout, int head) {
    List<Integer> exits = golden.architecture().exits().layers();
    int layer = head < exits.size() ? exits.get(head) : golden.architecture().model().numLayers();
    return stageOfLayer(stageLayout, layer);
  }

  private static int stageOf(GoldenCase golden, StageLayout stageLayout, String parameter) {
    String[] parts = parameter.split("\\.", -1);
    if (parameter.startsWith("model.layers.")) {
      return stageOfLayer(stageLayout, Integer.parseInt(parts[2]) + 1);
    }
    if (parameter.startsWith("exits.")) {
      return stageOfLayer(stageLayout, Integer.parseInt(parts[1]));
    }
    return parameter.startsWith("model.embed")
        ? 0
        : stageOfLayer(stageLayout, golden.architecture().model().numLayers());
  }

  /** The stage of a layer counted from 1. */
  private static int stageOfLayer(StageLayout stageLayout, int layer) {
    int stage = 0;
    while (stageLayout.slices().get(stage).endLayer() < layer) {
      stage++;
    }
    return stage;
  }

  private static Map<String, float[]> rank(
      GoldenCase golden,
      Schedule schedule,
      StageLayout stageLayout,
      List<Microbatch> batches,
      World world) {
    int stage = world.coordinate().pp();
    Map<Integer, Slice> slices = new TreeMap<>(Map.of(stage, stageLayout.slices().get(stage)));
    try (Scope scope = Scope.open();
        Decoder model =
            golden.load(
                Decoder.allocate(
                    golden.architecture(),
                    Learning.EVERYTHING,
                    Quantization.NONE,
                    new DecoderShard(
                        slices, TensorParallel.singleRank(), ContextParallel.singleRank(), 1),
                    world.device()));
        Gradients gradients = new Gradients(model.parameters());
        GradientReduction reduction =
            new GradientReduction(model, world, stageLayout, gradients, 1 << 20)) {
      reduction.start();
      List<StageExecutor> chains =
          List.of(new StageExecutor(model, model.stages().getFirst(), Recompute.NONE));
      try (TrainingCompute work =
          new TrainingCompute(
              schedule,
              chains,
              new StepCompute.Input(
                  id -> batches.get(id.index()),
                  _ -> Dropout.NONE,
                  FillGradientScale.of(schedule, id -> (long) batches.get(id.index()).counted())),
              golden.objective(),
              reduction)) {
        Microbatch batch = batches.getFirst();
        ScheduleExecutor.StageTensorSpec message =
            new ScheduleExecutor.StageTensorSpec(
                model.scalarType(),
                model.device(),
                (long) batch.batch() * batch.sequence(),
                (long) batch.batch() * batch.sequence(),
                golden.architecture().model().hiddenSize());
        ScheduleExecutor.run(schedule, world.transport(), message, work, new Trace.Off());
      }
      reduction.finish();
      Map<String, float[]> values = new HashMap<>();
      model
          .parameters()
          .all()
          .forEach(p -> values.put(p.name(), Tensors.toFloats(p.of(gradients.flat()))));
      return values;
    }
  }
}
