package org.eellm.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.SequencedMap;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.TrainingFiles;
import org.eellm.config.RunConfig;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;

/**
 * All that changes from step to step and that a checkpoint therefore keeps: the model, the
 * optimizer's moments, the guard's memory, and where the run is. Everything else follows from the
 * configuration.
 */
final class RunState implements AutoCloseable {
  private final Decoder model;
  private final AdamW optimizer;
  private final StepGuard guard;
  private long step;
  private double seconds;

  /** The part of the state that is not tensors, as {@code training/state.json} has it. */
  private record Position(long step, double seconds, StepGuard.State guard) {}

  private RunState(RunConfig config, Decoder model, Position position) {
    this.model = model;
    this.optimizer = new AdamW(model.parameters(), config.optimizer());
    this.guard = new StepGuard(config.train(), position.guard());
    this.step = position.step();
    this.seconds = position.seconds();
  }

  /** The state before the first step, with weights drawn from the seed. */
  static RunState initial(RunConfig config) {
    Decoder model = Decoder.allocate(config.architecture(), device(config));
    model.initialize(config.train().seed());
    return new RunState(config, model, new Position(0, 0, StepGuard.State.initial()));
  }

  /**
   * The state that a checkpoint keeps.
   *
   * @throws org.eellm.checkpoint.CheckpointException if it is not whole or of another model
   */
  static RunState load(RunConfig config, Path checkpoint) {
    Position position = TrainingFiles.readState(checkpoint, Position.class);
    Decoder model = ModelWeights.read(checkpoint, config.architecture(), device(config));
    RunState state = new RunState(config, model, position);
    TrainingFiles.readOptimizer(checkpoint, model.parameters(), state.buffers());
    return state;
  }

  /** Writes a checkpoint's files: the model's weights and what training needs beside them. */
  void save(Path checkpoint) throws IOException {
    ModelWeights.save(checkpoint, model);
    TrainingFiles.writeOptimizer(checkpoint, model.parameters(), buffers());
    TrainingFiles.writeState(checkpoint, new Position(step, seconds, guard.state()));
  }

  private SequencedMap<String, Tensor> buffers() {
    SequencedMap<String, Tensor> buffers = new LinkedHashMap<>();
    optimizer.state().forEach(buffer -> buffers.put(buffer.name(), buffer.flat()));
    return buffers;
  }

  private static Device device(RunConfig config) {
    return switch (config.train().device()) {
      case CPU -> Torch.cpu();
      case CUDA -> Torch.cuda();
    };
  }

  Decoder model() {
    return model;
  }

  AdamW optimizer() {
    return optimizer;
  }

  StepGuard guard() {
    return guard;
  }

  /** The last step taken; 0 before the first. */
  long step() {
    return step;
  }

  /** Time spent in steps so far. */
  double seconds() {
    return seconds;
  }

  /** Counts a step that has been taken. */
  void advance(double stepSeconds) {
    step++;
    seconds += stepSeconds;
  }

  @Override
  public void close() {
    optimizer.close();
    model.close();
  }
}
