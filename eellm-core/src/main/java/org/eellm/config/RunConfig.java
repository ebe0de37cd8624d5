package org.eellm.config;

import static org.eellm.config.ConfigException.require;

import java.util.Map;
import org.eellm.config.OptimizerConfig.Algorithm;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.config.setting.RecordCopy;

/** A whole run: what {@code eellm train --config} reads, one record a section. */
public record RunConfig(
    ModelConfig model,
    ExitsConfig exits,
    DataConfig data,
    TrainConfig train,
    OptimizerConfig optimizer,
    ParallelConfig parallel,
    CheckpointConfig checkpoint,
    LoggingConfig logging,
    TuneConfig tune) {
  public RunConfig {
    Architecture checked = new Architecture(model, exits.layout());
    require(
        tune.learning().goesThroughTrunk()
            || tune.learning() == Learning.DRAFT_HEAD
            || !exits.layers().isEmpty(),
        "exits.layers",
        "is empty, and there is nothing to tune; give the model exits with eellm add-exits, or set"
            + " tune.lora.rank or tune.target: draft_head");
    require(
        model.experts().count() == 0 || !tune.learning().goesThroughTrunk(),
        "model.experts.count",
        model.experts().count()
            + " experts do not learn, nor do layers below; tune exits beside them (eellm tune"
            + " without tune.lora)");
    requireAdapter(model, optimizer, parallel, tune);
    requireDraftHead(model, data, parallel, tune);
    require(
        data.sequenceLength() <= model.maxPositions(),
        "data.sequence_length",
        data.sequenceLength()
            + " is beyond model.max_positions "
            + checked.model().maxPositions()
            + "; shorten it or raise that");
    require(
        optimizer.warmupSteps() < train.steps() || optimizer.warmupSteps() == 0,
        "optimizer.warmup_steps",
        optimizer.warmupSteps() + " leaves no step after warm-up in train.steps " + train.steps());
    requireMesh(checked, data, train, parallel, tune.learning());
    requireTeacher(exits, parallel);
    require(
        parallel.schedule() != PipelineSchedule.ZERO_BUBBLE
            || tune.learning() == Learning.EVERYTHING,
        "parallel.schedule",
        "zero_bubble puts off gradients of layers, which do not learn with tune.model; use"
            + " one_forward_one_backward");
  }

  /** What low-rank changes do not go with. */
  private static void requireAdapter(
      ModelConfig model, OptimizerConfig optimizer, ParallelConfig parallel, TuneConfig tune) {
    if (!(tune.learning() instanceof Learning.Adapter(Lora lora))) {
      return;
    }
    require(
        !lora.targets().contains(Projection.GATE_PROJ) || model.activation().gated(),
        "tune.lora.targets",
        "the model's MLP has no gate_proj; leave it out");
    require(
        lora.rank() <= model.hiddenSize(),
        "tune.lora.rank",
        "%d is above model.hidden_size %d, the rank of whole matrices; 8 to 64 is usual",
        lora.rank(),
        model.hiddenSize());
    require(
        lora.dropout() == 0 || parallel.tp() == 1,
        "tune.lora.dropout",
        lora.dropout() + " draws no masks of shared matrices; use 0, or parallel.tp: 1");
    require(
        optimizer.algorithm() != Algorithm.MUON,
        "optimizer.algorithm",
        "muon is for whole matrices, not for those of tune.lora; use adamw");
  }

  /** What a draft head does not go with. */
  private static void requireDraftHead(
      ModelConfig model, DataConfig data, ParallelConfig parallel, TuneConfig tune) {
    if (tune.learning() != Learning.DRAFT_HEAD) {
      return;
    }
    require(
        parallel.tp() == 1 && parallel.cp() == 1 && parallel.pp() == 1,
        "tune.target",
        "draft_head learns on ranks that have all of the model; use parallel.dp alone");
    require(
        data.sequenceLength() > 3,
        "data.sequence_length",
        data.sequenceLength()
            + " is too short for a draft head, which learns three tokens ahead; use 4 or more");
    require(
        !model.hasExperts(0),
        "tune.target",
        "draft_head begins as the first layer, and this model's has experts; use text or"
            + " final_head");
  }

  /** In a pipeline the final head's hidden state comes to the exits, but not its matrix. */
  private static void requireTeacher(ExitsConfig exits, ParallelConfig parallel) {
    require(
        exits.distillation() == 0 || parallel.pp() == 1 || exits.tieOutput(),
        "exits.distillation",
        "stages of parallel.pp %d have the final head's matrix with exits.tie_output: true alone;"
            + " set that, or parallel.pp: 1",
        parallel.pp());
    require(
        exits.distillation() == 0 || (parallel.fillWarmup() == 0 && parallel.fillCooldown() == 0),
        "exits.distillation",
        "fills (parallel.fill_warmup, fill_cooldown) do not reach the final head; remove one of"
            + " them");
  }

  /** The mesh must be able to share out the model and the batch. */
  private static void requireMesh(
      Architecture architecture,
      DataConfig data,
      TrainConfig train,
      ParallelConfig parallel,
      Learning learning) {
    int tp = parallel.tp();
    architecture.requireSplits("parallel.tp", tp);
    int blocks = 2 * parallel.cp();
    require(
        parallel.cp() == 1 || data.sequenceLength() % blocks == 0,
        "parallel.cp",
        "%d shares out %d blocks of a sequence, and data.sequence_length %d is not a multiple of"
            + " that; use %s",
        parallel.cp(),
        blocks,
        data.sequenceLength(),
        multiples(data.sequenceLength(), blocks));
    long tokens = (long) train.microBatchSize() * data.sequenceLength() / parallel.cp();
    require(
        !parallel.sequenceParallel() || tokens % tp == 0,
        "parallel.sequence_parallel",
        "%d tokens (train.micro_batch_size %d x data.sequence_length %d%s) cannot be shared by tp"
            + " %d; use %s",
        tokens,
        train.microBatchSize(),
        data.sequenceLength(),
        parallel.cp() > 1 ? " / parallel.cp " + parallel.cp() : "",
        tp,
        multiples(tokens, tp));
    require(
        !parallel.sequenceParallel() || train.layerDropout() == 0,
        "parallel.sequence_parallel",
        "shares out tokens, but train.layer_dropout skips whole sequences; remove one of them");
    StageLayout.requirePossible(architecture, parallel, learning);
    int unit = train.microBatchSize() * parallel.dp() * (parallel.chunks() > 1 ? parallel.pp() : 1);
    batch("train.global_batch_size", train.globalBatchSize(), unit, train, parallel);
    if (train.rampup().samples() > 0) {
      batch("train.rampup.start", train.rampup().start(), unit, train, parallel);
      batch("train.rampup.increment", train.rampup().increment(), unit, train, parallel);
    }
  }

  private static void batch(
      String key, int size, int unit, TrainConfig train, ParallelConfig parallel) {
    require(
        size % unit == 0,
        key,
        "%d is not a multiple of %d (train.micro_batch_size %d x parallel.dp %d%s); use %s",
        size,
        unit,
        train.microBatchSize(),
        parallel.dp(),
        parallel.chunks() > 1 ? " x parallel.pp %d, for chunks".formatted(parallel.pp()) : "",
        multiples(size, unit));
  }

  /** The multiples of a unit that are nearest to a size, in words. */
  private static String multiples(long size, long unit) {
    long below = size / unit * unit;
    return below == 0 ? Long.toString(unit) : below + " or " + (below + unit);
  }

  /** Whether exits learn from the final head, so that in a pipeline they wait for what it sends. */
  public boolean exitsAwaitFinalHead() {
    return exits.distillation() > 0 || tune.learning() == Learning.EXITS_FROM_FINAL_HEAD;
  }

  /** Which part of the model each virtual stage holds. */
  public StageLayout stageLayout() {
    return StageLayout.of(architecture(), parallel, data.sequenceLength(), tune.learning());
  }

  /** The model's shape. */
  public Architecture architecture() {
    return new Architecture(model, exits.layout());
  }

  /** This configuration for another model. */
  public RunConfig withModel(ModelConfig other) {
    return RecordCopy.with(this, "model", other);
  }

  /** This configuration on another mesh. */
  public RunConfig withParallel(ParallelConfig mesh) {
    return RecordCopy.with(this, "parallel", mesh);
  }

  /** This configuration on another mesh, and trained in another way there. */
  public RunConfig with(ParallelConfig mesh, TrainConfig other) {
    return RecordCopy.with(this, Map.of("parallel", mesh, "train", other));
  }

  /** This configuration with other data. */
  public RunConfig withData(DataConfig others) {
    return RecordCopy.with(this, "data", others);
  }

  /** This configuration with other tuning. */
  public RunConfig withTune(TuneConfig other) {
    return RecordCopy.with(this, "tune", other);
  }

  /** This configuration with other exits. */
  public RunConfig withExits(ExitsConfig others) {
    return RecordCopy.with(this, "exits", others);
  }
}
