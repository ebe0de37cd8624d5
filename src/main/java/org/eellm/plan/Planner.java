package org.eellm.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelFlops;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParameterCount;
import org.eellm.config.Placement.Slice;
import org.eellm.config.RunConfig;
import org.eellm.plan.Plan.StagePlan;
import org.eellm.plan.Plan.StepTime;
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
  private final Pipeline pipeline;
  private final BranchWork work;

  private Planner(RunConfig config, Hardware hardware) {
    this.config = config;
    this.hardware = hardware;
    this.mesh = config.parallel();
    this.pipeline = Pipeline.of(config);
    this.work = new BranchWork(config, hardware);
  }

  /**
   * Plans a run.
   *
   * @throws ConfigException if the model's vocabulary is not known yet, or the run tunes exits
   */
  public static Plan plan(RunConfig config, Hardware hardware) {
    return new Planner(checked(config), hardware).plan();
  }

  /** Refuses what no mesh would make a plan of. */
  static RunConfig checked(RunConfig config) {
    if (config.model().vocabSize() == 0) {
      throw new ConfigException(
          "model.vocab_size: 0 needs a tokenizer, and there is none here; use --set"
              + " model.vocab_size=32000");
    }
    if (config.tune().learning() != Learning.EVERYTHING) {
      throw new ConfigException(
          "tune.model: a run that tunes exits cannot be planned yet; leave the section out");
    }
    return config;
  }

  /**
   * Memory of the fullest rank, without simulating a step.
   *
   * @param schedule of as many microbatches as fill the pipeline, or more
   * @throws ConfigException as {@link #plan} does
   */
  static long fullestBytes(RunConfig config, Hardware hardware, Schedule schedule) {
    Planner planner = new Planner(checked(config), hardware);
    Footprint footprint = new Footprint(config, hardware);
    return IntStream.range(0, schedule.stages())
        .mapToLong(stage -> footprint.of(stage, planner.slices(stage), schedule).total())
        .max()
        .orElseThrow();
  }

  /**
   * A lower bound of a step's seconds: the busiest stage's work.
   *
   * @throws ConfigException as {@link #plan} does
   */
  static double leastSeconds(RunConfig config, Hardware hardware) {
    Planner planner = new Planner(checked(config), hardware);
    Costs costs = planner.costs();
    int stages = config.parallel().pp();
    return planner.microbatches()
        * IntStream.range(0, stages)
            .mapToDouble(
                stage ->
                    IntStream.range(0, config.parallel().chunks())
                        .map(chunk -> chunk * stages + stage)
                        .mapToDouble(
                            v ->
                                costs.forward().get(v)
                                    + costs.backward().get(v)
                                    + costs.heads().get(v))
                        .sum())
            .max()
            .orElseThrow();
  }

  /** Bytes that norm and update read and write for a parameter that computes in some format. */
  public static double updateBytes(DataType type) {
    return UPDATE_BYTES + NORM_BYTES + (type == DataType.FLOAT32 ? 0 : type.bytes());
  }

  private Plan plan() {
    Schedule schedule = pipeline.schedule(microbatches());
    Costs costs = costs();
    Timeline timeline = Timeline.of(schedule, costs);
    Footprint footprint = new Footprint(config, hardware);
    Architecture architecture = config.architecture();
    List<StagePlan> stages = new ArrayList<>();
    for (int stage = 0; stage < mesh.pp(); stage++) {
      List<Slice> slices = slices(stage);
      stages.add(
          new StagePlan(
              stage,
              slices,
              ParameterCount.held(architecture, slices, mesh.tp()),
              footprint.of(stage, slices, schedule),
              timeline.makespan() * (1 - timeline.idleShare(stage))));
    }
    ModelFlops flops = ModelFlops.perToken(architecture, config.data().sequenceLength());
    long tokens = (long) config.train().globalBatchSize() * config.data().sequenceLength();
    return new Plan(
        config,
        hardware,
        ParameterCount.of(architecture),
        flops.total(config.exits().layers().size()) * tokens,
        stages,
        timeline,
        time(timeline, costs, stages));
  }

  private int microbatches() {
    return config.train().globalBatchSize() / (config.train().microBatchSize() * mesh.dp());
  }

  private List<Slice> slices(int stage) {
    return IntStream.range(0, mesh.chunks())
        .mapToObj(chunk -> pipeline.placement().slices().get(chunk * mesh.pp() + stage))
        .toList();
  }

  /** Seconds of every virtual stage's passes. */
  private Costs costs() {
    List<Slice> slices = pipeline.placement().slices();
    double message = work.shape().ofRows(work.shape().hidden());
    return new Costs(
        slices.stream().map(slice -> work.seconds(work.forward(slice))).toList(),
        slices.stream().map(slice -> work.seconds(work.backward(slice))).toList(),
        slices.stream().map(slice -> work.seconds(work.heads(slice))).toList(),
        mesh.pp() == 1 ? 0 : hardware.connection(mesh.worldSize()).message().seconds(message));
  }

  /** A stage sums its gradients as soon as it has them; the update waits for all of them. */
  private StepTime time(Timeline timeline, Costs costs, List<StagePlan> stages) {
    double summed = 0;
    double update = 0;
    double gather = 0;
    for (StagePlan stage : stages) {
      double end =
          timeline.spans().stream()
              .filter(span -> span.stage() == stage.stage())
              .mapToDouble(Timeline.Span::end)
              .max()
              .orElse(0);
      summed = Math.max(summed, end + sums(stage, costs));
      double part = (double) stage.parameters() / mesh.dp();
      double bandwidth = hardware.memoryGbPerSecond() * 1e9;
      update = Math.max(update, part * updateBytes(config.model().dtype()) / bandwidth);
      gather = Math.max(gather, replicaPart(stage.parameters() * config.model().dtype().bytes()));
    }
    return new StepTime(
        timeline.makespan(), Math.max(0, summed - timeline.makespan()), update, gather);
  }

  /**
   * What a stage's sums take after its last backward pass. Those over replicas go on beside it,
   * where the hardware can do that, but for the last bucket and the embedding.
   */
  private double sums(StagePlan stage, Costs costs) {
    ModelConfig model = config.model();
    double embedding = 4.0 * model.vocabSize() * model.hiddenSize() / mesh.tp();
    double seconds = 0;
    if (mesh.dp() > 1) {
      double all = replicaPart(4.0 * stage.parameters());
      boolean embeds = stage.slices().stream().anyMatch(Slice::embeds);
      double bucket = mesh.bucketMegabytes() * (double) (1 << 20);
      double late = replicaPart(embeds ? embedding + bucket : bucket);
      double hidden = hardware.overlaps() ? costs.backward().get(stage.stage()) : 0;
      seconds += Math.max(Math.min(late, all), all - hidden);
    }
    if (isTied(stage.stage())) {
      seconds +=
          2
              * Collectives.part(
                  hardware.connection(mesh.worldSize()).collective(), mesh.pp(), embedding);
    }
    return seconds;
  }

  /** Whether the stage multiplies with the embedding, and another stage does so, too. */
  private boolean isTied(int stage) {
    return hasEmbedding(stage)
        && IntStream.range(0, mesh.pp()).anyMatch(other -> other != stage && hasEmbedding(other));
  }

  private boolean hasEmbedding(int stage) {
    return slices(stage).stream()
        .anyMatch(
            slice ->
                slice.embeds()
                    || (slice.concludes() && config.model().tieEmbeddings())
                    || (!slice.exits().isEmpty() && config.exits().tieOutput()));
  }

  /** A reduce-scatter or all-gather over replicas of so many bytes in all. */
  private double replicaPart(double bytes) {
    return Collectives.part(
        hardware.connection(mesh.tp() * mesh.dp()).collective(), mesh.dp(), bytes);
  }
}
