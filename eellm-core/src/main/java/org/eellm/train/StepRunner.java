package org.eellm.train;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalLong;
import java.util.SequencedMap;
import org.eellm.config.ExitsConfig;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.plan.RunSchedules;
import org.eellm.data.SampleSource;
import org.eellm.distributed.World;
import org.eellm.model.Dropout;
import org.eellm.model.Stage;
import org.eellm.model.parameter.Gradients;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.Schedule;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TrainEvent;
import org.eellm.train.objective.ExitWeights;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.LayerDropout;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.optimizer.AdamW;
import org.eellm.train.optimizer.BatchSize;
import org.eellm.train.optimizer.GradientReduction;
import org.eellm.train.optimizer.LearningRate;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;

/**
 * Takes optimizer steps: microbatches through the pipeline and back, sums over ranks, the guard's
 * decision, clipping, update. What a step does follows from its number, the configuration, and the
 * state; the mesh changes only how sums are rounded, and how many samples fill bubbles.
 */
public final class StepRunner implements AutoCloseable {
  /** Of a draft head's losses, by how far ahead the token is. */
  private static final List<Double> DRAFT_WEIGHTS = List.of(1.0, 0.8, 0.64);

  /** The share of steps in which the last of them does not count yet. */
  private static final double FEWER_DRAFTS = 0.7;

  private final RunConfig config;
  private final SampleSource samples;
  private final TrainState state;
  private final World world;
  private final Gradients gradients;
  private final GradientReduction reduction;
  private final List<StageExecutor> executors;
  private final List<HeadTuningExecutor> headExecutors;
  private final RunSchedules runSchedules;
  private final ModelFlops flops;
  private final Map<Integer, Schedule> schedules = new HashMap<>();
  private final Trace trace;

  public StepRunner(
      RunConfig config, SampleSource samples, TrainState state, World world, Trace trace) {
    this.config = config;
    this.samples = samples;
    this.state = state;
    this.world = world;
    this.trace = trace;
    TrainConfig train = config.train();
    List<Stage> stages = state.model().stages();
    executors =
        stages.stream()
            .map(stage -> new StageExecutor(state.model(), stage, train.recompute()))
            .toList();
    headExecutors =
        stages.stream().map(stage -> new HeadTuningExecutor(state.model(), stage)).toList();
    runSchedules = RunSchedules.of(config);
    flops =
        ModelFlops.perToken(
            config.architecture(), config.data().sequenceLength(), config.tune().learning());
    gradients = new Gradients(state.model().parameters());
    reduction = state.reduction(gradients);
  }

  /**
   * The figures of a step, the same on every rank; the fields are those of {@link TrainEvent.Step}.
   *
   * @param countedTokens tokens of the batch that the loss counts; empty where it counts all
   * @param waiting share of the step's time that ranks waited for other stages, on average
   * @param memory bytes in use: of each rank's process or, on a GPU, of its device
   * @param fills sequences beside the batch, in the pipeline's bubbles
   * @param fillFlops their operations, for one token of each sequence
   */
  public record Result(
      double loss,
      SequencedMap<HeadId, Double> losses,
      SequencedMap<HeadId.Exit, Double> exitWeights,
      double learningRate,
      double gradientNorm,
      int batchSize,
      OptionalLong countedTokens,
      UpdateDecision decision,
      double waiting,
      List<Long> memory,
      int fills,
      double fillFlops) {}

  /**
   * Takes a step, with the samples behind those of the step before.
   *
   * @param step from 1
   * @throws TrainException if the guard ends the run
   */
  public Result trainStep(long step) {
    long begun = System.nanoTime();
    int batchSize = BatchSize.at(config.train(), BatchSize.samplesBefore(config.train(), step));
    int replicas = world.mesh().dp();
    int fillSize = config.train().microBatchSize() * replicas;
    int microbatches = batchSize / fillSize;
    Schedule schedule = schedules.computeIfAbsent(microbatches, runSchedules::schedule);
    SequencedMap<HeadId.Exit, Double> exitWeights = exitWeights(step);
    Objective objective = objective(step, exitWeights);
    StepCompute.Input input = input(step, schedule);
    double rate = LearningRate.at(config.optimizer(), config.train().steps(), step);
    try (Scope scope = Scope.open();
        StepCompute work = work(schedule, input, objective)) {
      reduction.start();
      long waited =
          ScheduleExecutor.run(
              schedule,
              world.transport(),
              ScheduleExecutor.StageTensorSpec.of(config, state.model(), objective),
              work,
              trace);
      try (Trace.Span span = trace.span("sum gradients")) {
        reduction.finish();
      }
      double share = waited / (double) (System.nanoTime() - begun);
      ReducedStepMetrics sums =
          ReducedStepMetrics.of(
              world,
              work.losses(),
              reduction.squares(),
              share,
              Torch.usedBytes(state.model().device()));
      SequencedMap<HeadId, Double> losses = losses(sums.losses(), objective, exitWeights);
      double loss = 0;
      for (var head : losses.entrySet()) {
        loss += exitWeights.getOrDefault(head.getKey(), 1.0) * head.getValue();
      }
      double norm = Math.sqrt(sums.squares());
      UpdateDecision decision = state.guard().judge(step, loss, norm);
      if (decision == UpdateDecision.APPLY) {
        try (Trace.Span span = trace.span("update")) {
          update(norm, rate, step - state.guard().skipped());
          reduction.gatherParameters();
        }
      }
      int fills = (int) RunSchedules.fills(schedule) * fillSize;
      state.consume(batchSize + fills);
      return new Result(
          loss,
          losses,
          exitWeights,
          rate,
          norm,
          batchSize,
          samples.isMasked() ? OptionalLong.of(input.scale().regular()) : OptionalLong.empty(),
          decision,
          sums.waiting(),
          sums.memory(),
          fills,
          runSchedules.fillFlops(schedule, flops) * fillSize);
    }
  }

  /** Waits for the parameters that the last step has left on their way from other ranks. */
  void awaitParameters() {
    reduction.awaitParameters();
  }

  /** {@link GradientReduction#requireEqualCopies} of the parameters as they are. */
  void requireEqualCopies() {
    reduction.requireEqualCopies(state.step());
  }

  /** Norm and update of a step once more, for measuring. */
  public void update(long step) {
    reduction.awaitParameters();
    update(Math.sqrt(reduction.squares()), 0, step);
  }

  private void update(double norm, double rate, long step) {
    state.awaitCopy();
    double clip = AdamW.clipScale(norm, config.optimizer().clipNorm());
    state.optimizer().update(reduction.sums(), clip, rate, step);
  }

  private StepCompute work(Schedule schedule, StepCompute.Input input, Objective objective) {
    if (config.tune().learning().goesThroughTrunk()) {
      return new TrainingCompute(schedule, executors, input, objective, reduction);
    }
    reduction.awaitParameters();
    return new TuningCompute(
        headExecutors, input.microbatches(), objective, input.scale().regularWeight(), gradients);
  }

  /**
   * The microbatches of a step. In a step of n regular microbatches a replica they have the numbers
   * 0 to n replicas - 1, whichever replica takes them; so their samples and dropout do not depend
   * on the mesh. Fills take samples of their own, behind the regular ones.
   */
  private StepCompute.Input input(long step, Schedule schedule) {
    int size = config.train().microBatchSize();
    int replicas = world.mesh().dp();
    long first = state.samples();
    return new StepCompute.Input(
        id -> Microbatch.of(samples, first + (long) number(id, replicas) * size, size),
        id -> dropout(step, number(id, replicas)),
        FillGradientScale.of(
            schedule,
            id -> samples.counted(first + (long) id.index() * replicas * size, replicas * size)));
  }

  private int number(MicrobatchId id, int replicas) {
    return id.index() * replicas + world.coordinate().dp();
  }

  /** The losses of the heads that were computed. */
  private static SequencedMap<HeadId, Double> losses(
      double[] byHead, Objective objective, SequencedMap<HeadId.Exit, Double> exits) {
    List<HeadId> heads = new ArrayList<>(exits.keySet());
    heads.add(HeadId.FINAL);
    SequencedMap<HeadId, Double> losses = new LinkedHashMap<>();
    heads.add(HeadId.DRAFT_HEAD);
    for (int head = 0; head < byHead.length; head++) {
      if (head == objective.weights().size() || objective.weights().get(head) != 0) {
        losses.put(heads.get(head), byHead[head]);
      }
    }
    return losses;
  }

  private SequencedMap<HeadId.Exit, Double> exitWeights(long step) {
    double[] weights = ExitWeights.at(config.exits(), step);
    SequencedMap<HeadId.Exit, Double> byHead = new LinkedHashMap<>();
    for (int exit = 0; exit < weights.length; exit++) {
      byHead.put(HeadId.exit(config.exits().layers().get(exit)), weights[exit]);
    }
    return byHead;
  }

  private Objective objective(long step, SequencedMap<HeadId.Exit, Double> exitWeights) {
    List<Double> weights = new ArrayList<>(exitWeights.values());
    Learning learning = config.tune().learning();
    if (learning == Learning.DRAFT_HEAD) {
      weights.replaceAll(_ -> 0.0);
    }
    weights.add(learning.goesThroughTrunk() ? 1.0 : 0.0);
    List<Double> temperatures = new ArrayList<>(config.exits().temperatures());
    temperatures.add(1.0);
    ExitsConfig exits = config.exits();
    return new Objective(
        weights,
        temperatures,
        exits.dynamicTokenWeights(),
        ExitWeights.distillationAt(exits, step),
        draftWeights(step));
  }

  /** A draft head learns one token further ahead towards the end. */
  private List<Double> draftWeights(long step) {
    if (config.tune().learning() != Learning.DRAFT_HEAD) {
      return List.of();
    }
    boolean late = step > FEWER_DRAFTS * config.train().steps();
    return late ? DRAFT_WEIGHTS : DRAFT_WEIGHTS.subList(0, DRAFT_WEIGHTS.size() - 1);
  }

  private Dropout dropout(long step, int microbatch) {
    ModelConfig model = config.model();
    TrainConfig train = config.train();
    boolean used =
        config.tune().lora().dropout() > 0
            || model.hiddenDropout() > 0
            || model.attentionDropout() > 0
            || train.layerDropout() > 0;
    long key = Dropout.mix(Dropout.mix(train.seed(), step), microbatch);
    return used
        ? new Dropout.Keyed(key, LayerDropout.at(train, model.numLayers(), step))
        : Dropout.NONE;
  }

  @Override
  public void close() {
    reduction.close();
    gradients.close();
  }
}
