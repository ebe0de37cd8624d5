package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.OptimizerConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.Placement;
import org.eellm.config.Placement.Slice;
import org.eellm.config.Quantization;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.distributed.InProcess;
import org.eellm.distributed.Mesh;
import org.eellm.distributed.World;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.Dropout;
import org.eellm.model.Gradients;
import org.eellm.model.Parameter;
import org.eellm.model.Split;
import org.eellm.model.Stage;
import org.eellm.model.TensorParallel;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every mesh computes what one rank computes: losses, gradients and three optimizer steps of every
 * golden case, with the ranks as threads.
 */
final class MeshTest {
  private static final double RELATIVE = 1e-5;
  private static final OptimizerConfig OPTIMIZER =
      new OptimizerConfig(
          1e-3, 0, OptimizerConfig.Schedule.CONSTANT, 0, 0, 0, 0.9, 0.95, 1e-8, 0.1, 0.5);

  /** A mesh and what flows through it, under a name. */
  record Layout(String name, ParallelConfig parallel) {
    @Override
    public String toString() {
      return name;
    }
  }

  private static Layout layout(String name, int tp, int dp, int pp) {
    return new Layout(name, ParallelConfig.of(tp, dp, pp));
  }

  private static Layout layout(
      String name,
      int tp,
      int dp,
      int pp,
      boolean sequence,
      PipelineSchedule schedule,
      int chunks,
      List<Integer> layers,
      boolean preExit) {
    return new Layout(
        name,
        new ParallelConfig(
            tp,
            dp,
            pp,
            sequence,
            schedule,
            chunks,
            ParallelConfig.Balance.EVEN,
            layers,
            preExit,
            0,
            0,
            1,
            60));
  }

  static final List<Layout> LAYOUTS =
      List.of(
          layout("tp2", 2, 1, 1),
          layout(
              "afab",
              1,
              1,
              1,
              false,
              PipelineSchedule.ALL_FORWARD_ALL_BACKWARD,
              1,
              List.of(),
              false),
          layout("one", 1, 1, 1),
          layout("pp2", 1, 1, 2),
          layout("pp4", 1, 1, 4),
          layout("dp2", 1, 2, 1),
          layout("dp4", 1, 4, 1),
          layout("tp2 pp2", 2, 1, 2),
          layout("pp2 dp2", 1, 2, 2),
          layout("tp2 pp2 dp2", 2, 2, 2),
          layout(
              "tp2 sp",
              2,
              1,
              1,
              true,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "tp2 sp pp2",
              2,
              1,
              2,
              true,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "pp2 afab",
              1,
              1,
              2,
              false,
              PipelineSchedule.ALL_FORWARD_ALL_BACKWARD,
              1,
              List.of(),
              false),
          layout(
              "pp2 chunks 2",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              2,
              List.of(),
              false),
          layout(
              "pp2 uneven",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(1, 3),
              false),
          layout(
              "pp2 pre-exit",
              1,
              1,
              2,
              false,
              PipelineSchedule.ONE_FORWARD_ONE_BACKWARD,
              1,
              List.of(),
              true));

  static Stream<Arguments> cases() {
    return LAYOUTS.stream()
        .flatMap(layout -> suitable(layout).stream().map(name -> Arguments.of(name, layout)));
  }

  private static List<String> suitable(Layout layout) {
    return GoldenCase.NAMES.stream()
        .filter(name -> suits(layout, GoldenCase.named(name).architecture()))
        .toList();
  }

  /** An exit with a branch MLP cannot leave its stage, which the configuration refuses. */
  private static boolean suits(Layout layout, Architecture architecture) {
    return !layout.parallel().preExit() || !architecture.exits().mlp();
  }

  /**
   * What was computed, whole parameters.
   *
   * @param losses of each step's heads
   * @param gradients of the first step
   * @param norms of each step's gradient
   * @param parameters after the last step
   */
  record Outcome(
      List<double[]> losses,
      Map<String, float[]> gradients,
      List<Double> norms,
      Map<String, float[]> parameters) {}

  /**
   * A rank's part.
   *
   * @param gradients NaN where another data-parallel rank has the sum
   */
  private record Part(
      List<double[]> losses,
      List<Double> norms,
      Map<String, float[]> gradients,
      Map<String, float[]> parameters,
      Map<String, Parameter> shards) {}

  private static final Map<String, Outcome> CONTROLS = new HashMap<>();

  /** By layout and then case: connecting ranks takes longer than the steps of a case. */
  private static final Map<String, Map<String, Outcome>> MESHES = new HashMap<>();

  private static final Map<String, Map<String, Outcome>> DROPPING = new HashMap<>();

  @ParameterizedTest
  @MethodSource("cases")
  void steps_onMesh_equalAWorldOfOne(String name, Layout layout) {
    GoldenCase golden = GoldenCase.named(name);
    Outcome control = CONTROLS.computeIfAbsent(name, _ -> alone(golden, Optional.empty()));
    Map<String, Outcome> outcomes =
        MESHES.computeIfAbsent(
            layout.name(),
            _ ->
                onMesh(
                    layout.parallel(), suitable(layout), Optional.empty(), HeadForward.DEFERRED));
    compare(golden, Objects.requireNonNull(outcomes.get(name)), control);
  }

  private static Layout named(String name) {
    return LAYOUTS.stream().filter(layout -> layout.name().equals(name)).findFirst().orElseThrow();
  }

  @Test
  void steps_headsInTheForwardPass_equalAWorldOfOne() {
    Layout layout = named("tp2 sp pp2");
    onMesh(layout.parallel(), suitable(layout), Optional.empty(), HeadForward.EAGER)
        .forEach(
            (name, outcome) -> {
              GoldenCase golden = GoldenCase.named(name);
              Outcome control =
                  CONTROLS.computeIfAbsent(name, _ -> alone(golden, Optional.empty()));
              compare(golden, outcome, control);
            });
  }

  static final List<String> DROPOUT_CASES =
      List.of("llama_mlp_block_gqa", "gpt_norm_tied", "llama_norm_tied", "neox_parallel_mlp");

  @ParameterizedTest
  @FieldSource("DROPOUT_CASES")
  void steps_withDropout_dropTheSameOnEveryMesh(String name) {
    GoldenCase golden = GoldenCase.named(name);
    Outcome control = alone(golden, Optional.of(0.2));
    for (String mesh : List.of("tp2", "tp2 sp pp2", "pp2 dp2")) {
      Layout layout = named(mesh);
      Outcome outcome =
          Objects.requireNonNull(
              DROPPING
                  .computeIfAbsent(
                      mesh,
                      _ ->
                          onMesh(
                              layout.parallel(),
                              DROPOUT_CASES,
                              Optional.of(0.2),
                              HeadForward.DEFERRED))
                  .get(name));
      compareWays(golden, outcome, control);
    }
  }

  private static void compare(GoldenCase golden, Outcome mesh, Outcome control) {
    compareWays(golden, mesh, control);
    compare("parameter", mesh.parameters(), control.parameters());
  }

  /** The losses of all steps, and the first step's gradient. */
  private static void compareWays(GoldenCase golden, Outcome mesh, Outcome control) {
    for (int step = 0; step < control.losses().size(); step++) {
      double[] wanted = control.losses().get(step);
      double[] actual = mesh.losses().get(step);
      for (int head = 0; head < wanted.length; head++) {
        assertThat(actual[head])
            .as("loss of head %d in step %d", head, step + 1)
            .isCloseTo(wanted[head], withinPercentage(100 * RELATIVE));
      }
      assertThat(mesh.norms().get(step))
          .isCloseTo(control.norms().get(step), withinPercentage(100 * RELATIVE));
    }
    assertThat(mesh.gradients().keySet()).isEqualTo(control.gradients().keySet());
    assertThat(mesh.parameters().keySet()).isEqualTo(control.parameters().keySet());
    // A gradient that is zero but for rounding is of any relative size, and Adam makes full steps
    // of its sign.
    golden
        .expected()
        .get("zero_grad_params")
        .forEach(
            name -> {
              mesh.gradients().remove(name.asText());
              mesh.parameters().remove(name.asText());
            });
    compare("gradient", mesh.gradients(), control.gradients());
  }

  /** The difference's length, relative to the parameter's. */
  private static void compare(
      String kind, Map<String, float[]> actual, Map<String, float[]> wanted) {
    actual.forEach(
        (name, others) -> {
          float[] values = Objects.requireNonNull(wanted.get(name));
          double length = 0;
          double difference = 0;
          assertThat(others).hasSameSizeAs(values);
          for (int i = 0; i < values.length; i++) {
            assertThat(others[i]).as("%s of %s at %d", kind, name, i).isNotNaN();
            length += (double) values[i] * values[i];
            difference += Math.pow(values[i] - others[i], 2);
          }
          assertThat(Math.sqrt(difference / length))
              .as("%s of %s", kind, name)
              .isLessThanOrEqualTo(RELATIVE);
        });
  }

  /** The case's microbatches, and as many again with their sequences turned around. */
  private static List<Microbatch> microbatches(GoldenCase golden) {
    List<Microbatch> all = new ArrayList<>(golden.inputs());
    for (Microbatch batch : golden.inputs()) {
      int[] inputs = reversed(batch.targets());
      int[] targets = reversed(batch.inputs());
      all.add(new Microbatch(batch.batch(), batch.sequence(), inputs, targets, batch.lossMask()));
    }
    return all;
  }

  private static int[] reversed(int[] values) {
    int[] reversed = new int[values.length];
    for (int i = 0; i < values.length; i++) {
      reversed[i] = values[values.length - 1 - i];
    }
    return reversed;
  }

  private static Optional<Dropout> dropout(Optional<Double> probability, int number) {
    return probability.map(_ -> new Dropout(100 + number));
  }

  private static Architecture architecture(GoldenCase golden, Optional<Double> dropout) {
    return dropout.map(golden::droppingArchitecture).orElseGet(golden::architecture);
  }

  /** The control: one rank, one microbatch after the other, no schedule. */
  private static Outcome alone(GoldenCase golden, Optional<Double> dropout) {
    List<Microbatch> batches = microbatches(golden);
    Objective objective = golden.objective();
    List<double[]> losses = new ArrayList<>();
    List<Double> norms = new ArrayList<>();
    Map<String, float[]> first = new TreeMap<>();
    try (Scope scope = Scope.open();
        Decoder model = golden.load(architecture(golden, dropout));
        Gradients gradients = new Gradients(model.parameters());
        AdamW optimizer = new AdamW(model.parameters(), OPTIMIZER)) {
      Chain chain = new Chain(model, Recompute.NONE, new double[4]);
      for (int step = 1; step <= 3; step++) {
        double[] sums = new double[objective.weights().size()];
        gradients.start();
        for (int m = 0; m < batches.size(); m++) {
          chain
              .forwardBackward(
                  batches.get(m), objective, 1.0 / batches.size(), dropout(dropout, m), gradients)
              .forEach(head -> sums[head.index()] += head.loss() / batches.size());
        }
        gradients.finish();
        losses.add(sums);
        norms.add(AdamW.norm(gradients));
        if (step == 1) {
          model
              .parameters()
              .all()
              .forEach(p -> first.put(p.name(), Tensors.toFloats(p.of(gradients.flat()))));
        }
        double clip = AdamW.clipScale(norms.getLast(), OPTIMIZER.clipNorm());
        optimizer.update(gradients, clip, OPTIMIZER.learningRate(), step);
      }
      Map<String, float[]> parameters = new TreeMap<>();
      model.parameters().all().forEach(p -> parameters.put(p.name(), Tensors.toFloats(p.value())));
      return new Outcome(losses, first, norms, parameters);
    }
  }

  /** Cases by name, one after the other in one world. */
  private static Map<String, Outcome> onMesh(
      ParallelConfig parallel,
      List<String> names,
      Optional<Double> dropout,
      HeadForward headForward) {
    List<List<Part>> byRank =
        InProcess.run(
            new Mesh(parallel.tp(), parallel.dp(), parallel.pp()),
            world ->
                names.stream()
                    .map(
                        name -> rank(GoldenCase.named(name), parallel, dropout, headForward, world))
                    .toList());
    Map<String, Outcome> outcomes = new HashMap<>();
    for (int i = 0; i < names.size(); i++) {
      int number = i;
      List<Part> parts = byRank.stream().map(cases -> cases.get(number)).toList();
      outcomes.put(
          names.get(i),
          new Outcome(
              parts.getFirst().losses(),
              whole(parts, Part::gradients),
              parts.getFirst().norms(),
              whole(parts, Part::parameters)));
    }
    return outcomes;
  }

  private static Part rank(
      GoldenCase golden,
      ParallelConfig parallel,
      Optional<Double> dropout,
      HeadForward headForward,
      World world) {
    List<Microbatch> batches = microbatches(golden);
    Objective objective = golden.objective();
    Architecture architecture = architecture(golden, dropout);
    Placement placement =
        Placement.of(architecture, parallel, batches.getFirst().sequence(), Learning.EVERYTHING);
    Map<Integer, Slice> slices = new TreeMap<>();
    for (int v = world.coordinate().pp(); v < placement.slices().size(); v += parallel.pp()) {
      slices.put(v, placement.slices().get(v));
    }
    int dp = parallel.dp();
    Schedule schedule =
        Schedules.emit(kind(parallel), parallel.pp(), parallel.chunks(), batches.size() / dp);
    List<double[]> losses = new ArrayList<>();
    List<Double> norms = new ArrayList<>();
    Map<String, float[]> first = new HashMap<>();
    Map<String, Parameter> shards = new HashMap<>();
    TensorParallel tensorParallel = new TensorParallel(world.tp(), parallel.sequenceParallel());
    long bucketBytes = 100_000;
    try (Scope scope = Scope.open();
        Decoder model =
            golden.load(
                Decoder.allocate(
                    architecture,
                    Learning.EVERYTHING,
                    Quantization.NONE,
                    slices,
                    tensorParallel,
                    dp,
                    world.device()));
        Gradients gradients = new Gradients(model.parameters());
        GradientReduction reduction =
            new GradientReduction(model, world, placement, gradients, bucketBytes);
        AdamW optimizer =
            new AdamW(
                model.parameters(),
                OPTIMIZER,
                GradientReduction.pieces(model.parameters(), world, bucketBytes))) {
      model.parameters().all().forEach(p -> shards.put(p.name(), p));
      List<Chain> chains =
          model.stages().stream()
              .map(stage -> new Chain(model, stage, Recompute.NONE, new double[4]))
              .toList();
      for (int step = 1; step <= 3; step++) {
        reduction.start();
        try (TrainingWork work =
            new TrainingWork(
                schedule,
                chains,
                model.stages().stream().map(Stage::index).toList(),
                new StepWork.Input(
                    id -> batches.get(id.index() * dp + world.coordinate().dp()),
                    id -> dropout(dropout, id.index() * dp + world.coordinate().dp())),
                objective,
                headForward,
                dp,
                gradients,
                reduction)) {
          Microbatch batch = batches.getFirst();
          ScheduleExecutor.Message message =
              new ScheduleExecutor.Message(
                  model.scalarType(),
                  model.device(),
                  tensorParallel.localRows((long) batch.batch() * batch.sequence()),
                  architecture.model().hiddenSize());
          ScheduleExecutor.run(schedule, world.pp(), message, work, new Trace.Off());
          reduction.finish();
          StepSums sums = StepSums.of(world, work.losses(), reduction.squares(), 0, 0);
          losses.add(sums.losses());
          norms.add(Math.sqrt(sums.squares()));
        }
        if (step == 1) {
          first.putAll(gradients(model, world, reduction, bucketBytes));
        }
        double clip = AdamW.clipScale(norms.getLast(), OPTIMIZER.clipNorm());
        optimizer.update(reduction.sums(), clip, OPTIMIZER.learningRate(), step);
        reduction.gatherParameters();
      }
      Map<String, float[]> parameters = new HashMap<>();
      model.parameters().all().forEach(p -> parameters.put(p.name(), Tensors.toFloats(p.value())));
      return new Part(losses, norms, first, parameters, shards);
    }
  }

  private static ScheduleKind kind(ParallelConfig parallel) {
    if (parallel.chunks() > 1) {
      return ScheduleKind.INTERLEAVED;
    }
    return parallel.schedule() == PipelineSchedule.ONE_FORWARD_ONE_BACKWARD
        ? ScheduleKind.ONE_F_ONE_B
        : ScheduleKind.ALL_FORWARD_ALL_BACKWARD;
  }

  /** This rank's gradients, NaN where another replica has the sum. */
  private static Map<String, float[]> gradients(
      Decoder model, World world, GradientReduction reduction, long bucketBytes) {
    float[] flat = new float[Math.toIntExact(model.parameters().flat().numel())];
    Arrays.fill(flat, Float.NaN);
    List<Piece> pieces = GradientReduction.pieces(model.parameters(), world, bucketBytes);
    for (int i = 0; i < pieces.size(); i++) {
      float[] sum = Tensors.toFloats(reduction.sums().get(i));
      System.arraycopy(sum, 0, flat, (int) pieces.get(i).start(), sum.length);
    }
    Map<String, float[]> gradients = new HashMap<>();
    for (Parameter p : model.parameters().all()) {
      gradients.put(
          p.name(), Arrays.copyOfRange(flat, (int) p.offset(), (int) (p.offset() + p.numel())));
    }
    return gradients;
  }

  /** Whole parameters from the ranks' shards; what several have must agree. */
  private static Map<String, float[]> whole(
      List<Part> parts, Function<Part, Map<String, float[]>> values) {
    Map<String, float[]> whole = new TreeMap<>();
    for (int rank = 0; rank < parts.size(); rank++) {
      Part part = parts.get(rank);
      for (Map.Entry<String, float[]> entry : values.apply(part).entrySet()) {
        Parameter shard = Objects.requireNonNull(part.shards().get(entry.getKey()));
        long[] shape = shard.wholeShape();
        int size = (int) Arrays.stream(shape).reduce(1, (a, b) -> a * b);
        float[] target =
            whole.computeIfAbsent(
                entry.getKey(),
                _ -> {
                  float[] empty = new float[size];
                  Arrays.fill(empty, Float.NaN);
                  return empty;
                });
        int tp = size / entry.getValue().length;
        int tpRank = tp == 1 ? 0 : rank % tp;
        int rows = (int) shard.shape()[0];
        int columns = entry.getValue().length / rows;
        int wholeColumns = shard.split() == Split.COLUMNS ? columns * tp : columns;
        int rowOffset = shard.split() == Split.ROWS ? rows * tpRank : 0;
        int columnOffset = shard.split() == Split.COLUMNS ? columns * tpRank : 0;
        for (int i = 0; i < entry.getValue().length; i++) {
          float value = entry.getValue()[i];
          if (!Float.isNaN(value)) {
            int at = (rowOffset + i / columns) * wholeColumns + columnOffset + i % columns;
            if (!Float.isNaN(target[at])) {
              assertThat(value)
                  .as("%s on rank %d", entry.getKey(), rank)
                  .isCloseTo(target[at], within(1e-6f));
            }
            target[at] = value;
          }
        }
      }
    }
    return whole;
  }
}
