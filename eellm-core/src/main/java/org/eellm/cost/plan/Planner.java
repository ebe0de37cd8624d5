package org.eellm.cost.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout.Slice;
import org.eellm.cost.BranchCosts;
import org.eellm.cost.Collectives;
import org.eellm.cost.Hardware;
import org.eellm.cost.MemoryEstimator;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.MuonCosts;
import org.eellm.cost.ParameterCount;
import org.eellm.cost.plan.Plan.StagePlan;
import org.eellm.cost.plan.Plan.StepTime;
import org.eellm.schedule.Costs;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.Timeline;

/** Puts the time and memory of a step together. */
public final class Planner {
  /** Bytes that the update reads and writes for a parameter: gradient, moments, master weight. */
  private static final double UPDATE_BYTES = 4 + 8 + 8 + 8;

  /** Bytes that the gradient's norm reads for a parameter. */
  private static final double NORM_BYTES = 4;

  private final RunConfig config;
  private final Hardware hardware;
  private final ParallelConfig mesh;
  private final RunSchedules schedules;
  private final BranchCosts work;
  private final MuonCosts orthogonalization;
  private final Learning learning;

  /** A planner of a run that {@link #checked} has nothing against. */
  Planner(RunSchedules schedules, Hardware hardware) {
    this.config = schedules.config();
    this.hardware = hardware;
    this.mesh = config.parallel();
    this.schedules = schedules;
    this.work = new BranchCosts(config, hardware);
    this.orthogonalization = new MuonCosts(config, hardware);
    this.learning = config.tune().learning();
  }

  /**
   * Plans a run.
   *
   * @throws ConfigException if the model's vocabulary is not known yet
   */
  public static Plan plan(RunConfig config, Hardware hardware) {
    return new Planner(RunSchedules.of(checked(config)), hardware).plan();
  }

  /** Refuses what no mesh would make a plan of. */
  static RunConfig checked(RunConfig config) {
    if (config.model().vocabSize() == 0) {
      throw new ConfigException(
          "model.vocab_size: 0 needs a tokenizer, and there is none here; use --set"
              + " model.vocab_size=32000");
    }
    return config;
  }

  /**
   * Memory of the fullest rank, without simulating a step.
   *
   * @param schedule of as many microbatches as fill the pipeline, or more
   */
  long fullestBytes(Schedule schedule) {
    MemoryEstimator footprint = new MemoryEstimator(config, hardware);
    return IntStream.range(0, schedule.stages())
        .mapToLong(stage -> footprint.of(stage, slices(stage), schedule).total())
        .max()
        .orElseThrow();
  }

  /**
   * A lower bound of a step's seconds without fills, without simulating it: a stage waits for the
   * first microbatch, has its work to do, and then the last gradient goes back to the first stage,
   * or the stage's sums follow. Where weight gradients come last, that gradient has gone before.
   */
  double leastSeconds() {
    Costs costs = costs();
    double before = 0;
    double behind = 0;
    double least = 0;
    double update = 0;
    double gather = 0;
    for (int stage = 0; stage < mesh.pp(); stage++) {
      double busy = 0;
      for (int chunk = 0; chunk < mesh.chunks(); chunk++) {
        busy += seconds(costs, chunk * mesh.pp() + stage);
      }
      List<Slice> slices = slices(stage);
      long parameters = learned(slices);
      double after = Math.max(behind, sums(stage, slices, parameters, costs));
      least = Math.max(least, before + microbatches() * busy + after);
      update = Math.max(update, update(slices, parameters));
      gather = Math.max(gather, gather(parameters));
      before += costs.forward().get(stage) + costs.transfer();
      behind +=
          postponesWeights()
              ? 0
              : costs.backward().get(stage)
                  + (costs.headsWait() ? costs.heads().get(stage) : 0)
                  + costs.transfer();
    }
    return least + update + gather;
  }

  private boolean postponesWeights() {
    return mesh.schedule() == PipelineSchedule.ZERO_BUBBLE;
  }

  /** Seconds of a virtual stage's work for a microbatch. */
  private static double seconds(Costs costs, int virtualStage) {
    return costs.forward().get(virtualStage)
        + costs.backward().get(virtualStage)
        + costs.heads().get(virtualStage);
  }

  /** Bytes that norm and update read and write for a parameter that computes in some format. */
  public static double updateBytes(DataType type) {
    return UPDATE_BYTES + NORM_BYTES + (type == DataType.FLOAT32 ? 0 : type.bytes());
  }

  Plan plan() {
    Schedule schedule = schedules.schedule(microbatches());
    Costs costs = costs();
    Timeline timeline = Timeline.of(schedule, costs);
    double[] busy = new double[mesh.pp()];
    double[] ends = new double[mesh.pp()];
    for (Timeline.Span span : timeline.spans()) {
      busy[span.stage()] += span.end() - span.start();
      ends[span.stage()] = Math.max(ends[span.stage()], span.end());
    }
    MemoryEstimator footprint = new MemoryEstimator(config, hardware);
    List<StagePlan> stages = new ArrayList<>();
    for (int stage = 0; stage < mesh.pp(); stage++) {
      List<Slice> slices = slices(stage);
      stages.add(
          new StagePlan(
              stage, slices, held(slices), footprint.of(stage, slices, schedule), busy[stage]));
    }
    Architecture architecture = config.architecture();
    ModelFlops flops = ModelFlops.perToken(architecture, config.data().sequenceLength(), learning);
    long tokens = (long) config.train().globalBatchSize() * config.data().sequenceLength();
    return new Plan(
        config,
        hardware,
        ParameterCount.of(architecture),
        flops.total(config.exits().layers().size()) * tokens,
        stages,
        timeline,
        time(timeline.makespan(), ends, costs, stages));
  }

  private int microbatches() {
    return config.train().globalBatchSize() / (config.train().microBatchSize() * mesh.dp());
  }

  private List<Slice> slices(int stage) {
    return IntStream.range(0, mesh.chunks())
        .mapToObj(chunk -> schedules.stageLayout().slices().get(chunk * mesh.pp() + stage))
        .toList();
  }

  /** Seconds of every virtual stage's passes. */
  private Costs costs() {
    List<Slice> slices = schedules.stageLayout().slices();
    boolean goesBack = learning.goesThroughTrunk();
    double stream = work.shape().ofRows(work.shape().hidden());
    double message = config.exits().distillation() > 0 ? 1.5 * stream : stream; // 1 up, 2 back.
    return new Costs(
        slices.stream().map(slice -> work.seconds(work.forward(slice))).toList(),
        slices.stream().map(slice -> goesBack ? work.seconds(work.backward(slice)) : 0).toList(),
        slices.stream().map(slice -> goesBack ? work.seconds(work.weights(slice)) : 0).toList(),
        slices.stream().map(slice -> work.seconds(work.heads(slice))).toList(),
        config.exitsAwaitFinalHead(),
        mesh.pp() == 1 ? 0 : hardware.connection(mesh.worldSize()).message().seconds(message));
  }

  /**
   * A stage sums its gradients as soon as it has them; the update waits for all of them.
   *
   * @param ends of the stages' last backward passes
   */
  private StepTime time(double makespan, double[] ends, Costs costs, List<StagePlan> stages) {
    double summed = 0;
    double update = 0;
    double gather = 0;
    for (StagePlan stage : stages) {
      long parameters = learned(stage.slices());
      double sums = sums(stage.stage(), stage.slices(), parameters, costs);
      summed = Math.max(summed, ends[stage.stage()] + sums);
      update = Math.max(update, update(stage.slices(), parameters));
      gather = Math.max(gather, gather(parameters));
    }
    return new StepTime(makespan, Math.max(0, summed - makespan), update, gather);
  }

  /** The parameters of a rank with these slices. */
  private long held(List<Slice> slices) {
    return ParameterCount.held(config.architecture(), slices, mesh.tp(), learning);
  }

  /** Those of them that learn. */
  private long learned(List<Slice> slices) {
    return ParameterCount.learned(config.architecture(), slices, mesh.tp(), learning);
  }

  /** Norm and update of a rank's part of so many parameters. */
  private double update(List<Slice> slices, long parameters) {
    double part = (double) parameters / mesh.copies();
    return part * updateBytes(config.model().dtype()) / (hardware.memoryGbPerSecond() * 1e9)
        + orthogonalization.seconds(slices, parameters);
  }

  /** The gathering of so many updated weights over replicas. */
  private double gather(long parameters) {
    return replicaPart((double) parameters * config.model().dtype().bytes());
  }

  /**
   * Seconds of a stage's sums after its last backward pass. Those over replicas go on beside it,
   * where the hardware can do that, but for the last bucket and the embedding.
   */
  private double sums(int stage, List<Slice> slices, long parameters, Costs costs) {
    ModelConfig model = config.model();
    double embedding = 4.0 * model.vocabSize() * model.hiddenSize() / mesh.tp();
    double seconds = 0;
    if (mesh.copies() > 1) {
      double all = replicaPart(4.0 * parameters);
      boolean hasEmbedding = slices.stream().anyMatch(Slice::hasEmbedding);
      double bucket = mesh.bucketMegabytes() * (double) (1 << 20);
      double late = replicaPart(hasEmbedding ? embedding + bucket : bucket);
      List<Double> last = postponesWeights() ? costs.weights() : costs.backward();
      double hidden = hardware.overlaps() ? last.get(stage) : 0;
      seconds += Math.max(Math.min(late, all), all - hidden);
    }
    if (learning == Learning.EVERYTHING && isTied(stage)) {
      seconds +=
          2
              * Collectives.part(
                  hardware.connection(mesh.worldSize()).collective(), mesh.pp(), embedding);
    }
    return seconds;
  }

  /** Whether the stage has the matrix that exits and final head share, and another has it, too. */
  private boolean isTied(int stage) {
    return hasShared(stage)
        && IntStream.range(0, mesh.pp()).anyMatch(other -> other != stage && hasShared(other));
  }

  private boolean hasShared(int stage) {
    Architecture architecture = config.architecture();
    return slices(stage).stream()
        .anyMatch(
            architecture.model().tieEmbeddings()
                ? architecture::holdsEmbedding
                : architecture::usesOutputMatrix);
  }

  /** A reduce-scatter or all-gather over replicas of so many bytes in all. */
  private double replicaPart(double bytes) {
    return Collectives.part(
        hardware.connection(mesh.tp() * mesh.copies()).collective(), mesh.copies(), bytes);
  }
}
