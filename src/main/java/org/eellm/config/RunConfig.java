package org.eellm.config;

import static org.eellm.config.ConfigException.require;

/** A whole run: what {@code eellm train --config} reads, one record a section. */
public record RunConfig(
    ModelConfig model,
    ExitsConfig exits,
    DataConfig data,
    TrainConfig train,
    OptimizerConfig optimizer,
    ParallelConfig parallel,
    CheckpointConfig checkpoint,
    LoggingConfig logging) {
  public RunConfig {
    Architecture checked = new Architecture(model, exits.layout());
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
  }

  /** The model's shape. */
  public Architecture architecture() {
    return new Architecture(model, exits.layout());
  }
}
