package org.eellm.train;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.OptimizerConfig;
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
import org.eellm.model.parameter.Sharding;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleKind;
import org.eellm.schedule.Schedules;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.metrics.Trace;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.optimizer.AdamW;
import org.eellm.train.optimizer.FlatRange;
import org.eellm.train.optimizer.GradientReduction;
import org.eellm.train.optimizer.Optimizer;

/**
 * Three optimizer steps of golden cases, on a mesh whose ranks are threads and, for comparison, on
 * one rank.
 */
final class MeshSteps {

  /** What a run's steps minimise and are made with, beside what the golden case says. */
  record Learner(OptimizerConfig.Algorithm algorithm, double distillation) {
    static final Learner USUAL = new Learner(OptimizerConfig.Algorithm.ADAMW, 0);

    Objective objective(GoldenCase golden) {
      Objective text = golden.objective();
      return new Objective(
          text.weights(), text.temperatures(), text.dynamicTokenWeights(), distillation);
    }
  }

  /**
   * Steps of a case.
   *
   * @param name of the case
   * @param dropout its probability
   */
  record Job(String name, Optional<Double> dropout, Learner learner) {
    static Job of(String name, Learner learner) {
      return new Job(name, Optional.empty(), learner);
    }

    static Job dropping(String name, double probability) {
      return new Job(name, Optional.of(probability), Learner.USUAL);
    }

    GoldenCase golden() {
      return GoldenCase.named(name);
    }

    private Architecture architecture() {
      return dropout.map(golden()::droppingArchitecture).orElseGet(() -> golden().architecture());
    }

    /** What the microbatch of this number drops. */
    private Dropout dropout(int number) {
      return dropout.isPresent() ? new Dropout.Keyed(100 + number) : Dropout.NONE;
    }
  }

  /** How the steps are made. */
  private static OptimizerConfig optimizer(Learner learner) {
    return new OptimizerConfig(
        learner.algorithm(),
        1e-3,
        0,
        OptimizerConfig.Schedule.CONSTANT,
        0,
        0,
        0,
        0.9,
        0.95,
        1e-8,
        0,
        0.1,
        0.5);
  }

  private static final int STEPS = 3; // the later ones go on from the state that others left

  private MeshSteps() {}

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

  /**
   * The case's microbatches, and as many again with their sequences turned around, as two documents
   * each, of which the loss counts ever other parts, and of the last nothing.
   */
  private static List<Microbatch> microbatches(GoldenCase golden) {
    List<Microbatch> all = new ArrayList<>(golden.inputs());
    for (Microbatch batch : golden.inputs()) {
      int number = all.size() - golden.microbatches();
      boolean last = number == golden.microbatches() - 1;
      int[] inputs = reversed(batch.targets());
      int[] targets = reversed(batch.inputs());
      all.add(
          new Microbatch(
              batch.batch(),
              batch.sequence(),
              inputs,
              targets,
              last ? new float[inputs.length] : answers(inputs.length, number),
              twoDocuments(batch)));
    }
    return all;
  }

  private static float[] answers(int length, int number) {
    float[] mask = new float[length];
    for (int i = 0; i < length; i++) {
      mask[i] = i % (5 + 3 * number) < 3 ? 1 : 0;
    }
    return mask;
  }

  private static double counted(List<Microbatch> batches) {
    return batches.stream().mapToDouble(Microbatch::counted).sum();
  }

  /** The gradients' L2 norm, summed in float64. */
  static double norm(Gradients gradients) {
    double squares = 0;
    for (float each : Tensors.toFloats(gradients.flat())) {
      squares += (double) each * each;
    }
    return Math.sqrt(squares);
  }

  private static int[] twoDocuments(Microbatch batch) {
    int[] starts = new int[batch.inputs().length];
    for (int i = 0; i < starts.length; i++) {
      int second = batch.sequence() / (2 + i / batch.sequence()); // another in each sequence
      starts[i] = i % batch.sequence() < second ? 0 : second;
    }
    return starts;
  }

  private static int[] reversed(int[] values) {
    int[] reversed = new int[values.length];
    for (int i = 0; i < values.length; i++) {
      reversed[i] = values[values.length - 1 - i];
    }
    return reversed;
  }

  /** The control: one rank, one microbatch after the other, no schedule. */
  static Outcome alone(Job job) {
    GoldenCase golden = job.golden();
    Learner learner = job.learner();
    OptimizerConfig config = optimizer(learner);
    List<Microbatch> batches = microbatches(golden);
    Objective objective = learner.objective(golden);
    List<double[]> losses = new ArrayList<>();
    List<Double> norms = new ArrayList<>();
    Map<String, float[]> first = new TreeMap<>();
    try (Scope scope = Scope.open();
        Decoder model = golden.load(job.architecture());
        Gradients gradients = new Gradients(model.parameters());
        Optimizer optimizer = Optimizer.of(model.parameters(), config)) {
      StageExecutor chain = new StageExecutor(model, Recompute.NONE);
      for (int step = 1; step <= STEPS; step++) {
        double[] sums = new double[objective.weights().size()];
        gradients.start();
        for (int m = 0; m < batches.size(); m++) {
          double share = batches.get(m).counted() / counted(batches);
          chain
              .forwardBackward(batches.get(m), objective, share, job.dropout(m), gradients)
              .forEach(head -> sums[head.index()] += head.loss() * share);
        }
        gradients.finish();
        losses.add(sums);
        norms.add(norm(gradients));
        if (step == 1) {
          model
              .parameters()
              .all()
              .forEach(p -> first.put(p.name(), Tensors.toFloats(p.of(gradients.flat()))));
        }
        double clip = AdamW.clipScale(norms.getLast(), config.clipNorm());
        optimizer.update(gradients, clip, config.learningRate(), step);
      }
      Map<String, float[]> parameters = new TreeMap<>();
      model.parameters().all().forEach(p -> parameters.put(p.name(), Tensors.toFloats(p.value())));
      return new Outcome(losses, first, norms, parameters);
    }
  }

  /** Steps of one case after the other in one world: to connect its ranks takes longer. */
  static Map<Job, Outcome> onMesh(ParallelConfig parallel, List<Job> jobs) {
    return onMesh(parallel, jobs, NcclOrder::run);
  }

  /** Runs something on each rank of a mesh. */
  interface Ranks {
    <T> List<T> run(Mesh mesh, Function<World, T> body);
  }

  static Map<Job, Outcome> onMesh(ParallelConfig parallel, List<Job> jobs, Ranks ranks) {
    List<List<Part>> byRank =
        ranks.run(
            new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp()),
            world -> jobs.stream().map(job -> rank(job, parallel, world)).toList());
    Map<Job, Outcome> outcomes = new HashMap<>();
    for (int i = 0; i < jobs.size(); i++) {
      int number = i;
      List<Part> parts = byRank.stream().map(cases -> cases.get(number)).toList();
      outcomes.put(
          jobs.get(i),
          new Outcome(
              parts.getFirst().losses(),
              whole(parts, Part::gradients),
              parts.getFirst().norms(),
              whole(parts, Part::parameters)));
    }
    return outcomes;
  }

  private static Part rank(Job job, ParallelConfig parallel, World world) {
    GoldenCase golden = job.golden();
    Learner learner = job.learner();
    OptimizerConfig config = optimizer(learner);
    List<Microbatch> batches = microbatches(golden);
    Objective objective = learner.objective(golden);
    Architecture architecture = job.architecture();
    StageLayout stageLayout =
        StageLayout.of(architecture, parallel, batches.getFirst().sequence(), Learning.EVERYTHING);
    Map<Integer, Slice> slices = new TreeMap<>();
    for (int v = world.coordinate().pp(); v < stageLayout.slices().size(); v += parallel.pp()) {
      slices.put(v, stageLayout.slices().get(v));
    }
    int dp = parallel.dp();
    Schedule schedule =
        Schedules.emit(kind(parallel), parallel.pp(), parallel.chunks(), batches.size() / dp);
    List<double[]> losses = new ArrayList<>();
    List<Double> norms = new ArrayList<>();
    Map<String, float[]> first = new HashMap<>();
    Map<String, Parameter> shards = new HashMap<>();
    TensorParallel tensorParallel = new TensorParallel(world.tp(), parallel.sequenceParallel());
    ContextParallel ring = new ContextParallel(world.cp());
    long bucketBytes = 100_000;
    try (Scope scope = Scope.open();
        Decoder model =
            golden.load(
                Decoder.allocate(
                    architecture,
                    Learning.EVERYTHING,
                    Quantization.NONE,
                    new DecoderShard(slices, tensorParallel, ring, world.dp().size()),
                    world.device()));
        Gradients gradients = new Gradients(model.parameters());
        GradientReduction reduction =
            new GradientReduction(model, world, stageLayout, gradients, bucketBytes);
        Optimizer optimizer =
            Optimizer.of(
                model.parameters(),
                config,
                GradientReduction.ranges(model.parameters(), world, bucketBytes),
                world.dp())) {
      model.parameters().all().forEach(p -> shards.put(p.name(), p));
      List<StageExecutor> chains =
          model.stages().stream()
              .map(stage -> new StageExecutor(model, stage, Recompute.NONE))
              .toList();
      for (int step = 1; step <= STEPS; step++) {
        reduction.start();
        try (TrainingCompute work =
            new TrainingCompute(
                schedule,
                chains,
                new StepCompute.Input(
                    id -> batches.get(id.index() * dp + world.coordinate().dp()),
                    id -> job.dropout(id.index() * dp + world.coordinate().dp()),
                    FillGradientScale.of(
                        schedule,
                        id ->
                            (long)
                                counted(batches.subList(id.index() * dp, id.index() * dp + dp)))),
                objective,
                reduction)) {
          Microbatch batch = batches.getFirst();
          long rows = tensorParallel.localRows(ring.local((long) batch.batch() * batch.sequence()));
          ScheduleExecutor.StageTensorSpec message =
              new ScheduleExecutor.StageTensorSpec(
                  model.scalarType(),
                  model.device(),
                  rows,
                  learner.distillation() > 0 ? 2 * rows : rows,
                  architecture.model().hiddenSize());
          ScheduleExecutor.run(schedule, world.transport(), message, work, new Trace.Off());
          reduction.finish();
          ReducedStepMetrics sums =
              ReducedStepMetrics.of(world, work.losses(), reduction.squares(), 0, 0);
          losses.add(sums.losses());
          norms.add(Math.sqrt(sums.squares()));
        }
        if (step == 1) {
          first.putAll(gradients(model, world, reduction, bucketBytes));
        }
        double clip = AdamW.clipScale(norms.getLast(), config.clipNorm());
        optimizer.update(reduction.sums(), clip, config.learningRate(), step);
        reduction.gatherParameters();
      }
      reduction.awaitParameters();
      Map<String, float[]> parameters = new HashMap<>();
      model.parameters().all().forEach(p -> parameters.put(p.name(), Tensors.toFloats(p.value())));
      return new Part(losses, norms, first, parameters, shards);
    }
  }

  private static ScheduleKind kind(ParallelConfig parallel) {
    if (parallel.chunks() > 1) {
      return ScheduleKind.INTERLEAVED;
    }
    return switch (parallel.schedule()) {
      case ONE_FORWARD_ONE_BACKWARD -> ScheduleKind.ONE_F_ONE_B;
      case ALL_FORWARD_ALL_BACKWARD -> ScheduleKind.ALL_FORWARD_ALL_BACKWARD;
      case ZERO_BUBBLE -> ScheduleKind.ZERO_BUBBLE;
    };
  }

  /** This rank's gradients, NaN where another replica has the sum. */
  private static Map<String, float[]> gradients(
      Decoder model, World world, GradientReduction reduction, long bucketBytes) {
    float[] flat = new float[Math.toIntExact(model.parameters().flat().numel())];
    Arrays.fill(flat, Float.NaN);
    List<FlatRange> pieces =
        Optimizer.shares(
            GradientReduction.ranges(model.parameters(), world, bucketBytes), world.dp());
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
        int wholeColumns = shard.split() == Sharding.COLUMNS ? columns * tp : columns;
        int rowOffset = shard.split() == Sharding.ROWS ? rows * tpRank : 0;
        int columnOffset = shard.split() == Sharding.COLUMNS ? columns * tpRank : 0;
        for (int i = 0; i < entry.getValue().length; i++) {
          float value = entry.getValue()[i];
          if (!Float.isNaN(value)) {
            int at = (rowOffset + i / columns) * wholeColumns + columnOffset + i % columns;
            if (!Float.isNaN(target[at]) && value != target[at]) {
              throw new AssertionError(
                  "%s on rank %d: %s is not %s, which others have"
                      .formatted(entry.getKey(), rank, value, target[at]));
            }
            target[at] = value;
          }
        }
      }
    }
    return whole;
  }
}
