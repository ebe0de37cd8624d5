package org.eellm.train;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.IntConsumer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.PostponedProducts;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.Schedule;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.objective.StageExecutor.ForwardTape;
import org.eellm.train.optimizer.GradientReduction;

/** A step's forward and backward passes through the chunks of a rank. */
final class TrainingCompute implements StepCompute {
  private final Schedule schedule;
  private final List<StageExecutor> chunks;
  private final Input input;
  private final Objective objective;
  private final GradientReduction reduction;
  private final FillGradientScale scale;
  private final RetainedTensors retained = new RetainedTensors();
  private final Tensor losses;
  private final Map<MicrobatchChunk, ForwardTape> forwardTapes = new HashMap<>();
  private final Map<MicrobatchChunk, PostponedProducts> postponed = new HashMap<>();

  /**
   * @param chunks of the model on this rank
   */
  TrainingCompute(
      Schedule schedule,
      List<StageExecutor> chunks,
      Input input,
      Objective objective,
      GradientReduction reduction) {
    this.schedule = schedule;
    this.chunks = chunks;
    this.input = input;
    this.objective = objective;
    this.reduction = reduction;
    this.scale = input.scale();
    this.losses = StepCompute.losses(objective, reduction.gradients(), retained);
  }

  @Override
  public Tensor forward(MicrobatchId microbatch, int chunk, Received below) {
    StageExecutor executor = chunks.get(chunk);
    Microbatch batch = input.microbatches().apply(microbatch);
    Dropout dropout = input.dropouts().apply(microbatch);
    ForwardTape forwardTape = executor.forward(batch, below, dropout, reduction::awaitParameters);
    if (microbatch.hasBackwardOn(chunks.get(chunk).virtualStage())) {
      forwardTapes.put(MicrobatchChunk.of(microbatch, chunk), forwardTape);
      return forwardTape.output();
    }
    try (Scope scope = Scope.open();
        forwardTape) {
      return scope.moveToOuter(forwardTape.output());
    }
  }

  @Override
  public boolean hasEarlyHeads(int chunk) {
    return chunks.get(chunk).hasEarlyHeads(objective);
  }

  @Override
  public void backwardHeads(MicrobatchId microbatch, int chunk) {
    if (!schedule.kind().splitsBackward()) {
      runHeads(microbatch, chunk);
      return;
    }
    try (Gradients.Postponing _ = reduction.gradients().postpone(later(microbatch, chunk))) {
      runHeads(microbatch, chunk);
    }
  }

  private void runHeads(MicrobatchId microbatch, int chunk) {
    chunks
        .get(chunk)
        .backwardHeads(
            Objects.requireNonNull(forwardTapes.get(MicrobatchChunk.of(microbatch, chunk))),
            objective,
            tokenWeight(microbatch, chunk),
            reduction.gradients());
  }

  /** The products that a microbatch's backward pass through a chunk postpones. */
  private PostponedProducts later(MicrobatchId microbatch, int chunk) {
    return postponed.computeIfAbsent(
        MicrobatchChunk.of(microbatch, chunk), _ -> new PostponedProducts());
  }

  private double tokenWeight(MicrobatchId microbatch, int chunk) {
    return scale.headScale(microbatch, chunks.get(chunk).virtualStage());
  }

  @Override
  public Optional<Tensor> backward(
      MicrobatchId microbatch, int chunk, Received above, boolean last) {
    int virtualStage = chunks.get(chunk).virtualStage();
    if (above instanceof Received.Message(Tensor gradient)) {
      cross(gradient, virtualStage);
    }
    if (!schedule.kind().splitsBackward()) {
      return backward(microbatch, chunk, above, last ? reduction::backwardDone : _ -> {});
    }
    PostponedProducts later = later(microbatch, chunk);
    try (Gradients.Postponing _ = reduction.gradients().postpone(later)) {
      return backward(
          microbatch,
          chunk,
          above,
          last ? branch -> later.then(() -> reduction.backwardDone(branch)) : _ -> {});
    }
  }

  private Optional<Tensor> backward(
      MicrobatchId microbatch, int chunk, Received above, IntConsumer done) {
    int virtualStage = chunks.get(chunk).virtualStage();
    try (ForwardTape forwardTape =
        Objects.requireNonNull(forwardTapes.remove(MicrobatchChunk.of(microbatch, chunk)))) {
      StageExecutor.BackwardResult returned =
          chunks
              .get(chunk)
              .backward(
                  forwardTape,
                  objective,
                  tokenWeight(microbatch, chunk),
                  above,
                  reduction.gradients(),
                  done);
      if (microbatch instanceof Regular) {
        returned.heads().forEach(head -> head.addTo(losses, scale.regularWeight()));
      }
      return returned.gradient().filter(below -> microbatch.backwardEnd() < virtualStage);
    }
  }

  @Override
  public void backwardWeights(MicrobatchId microbatch, int chunk) {
    try (PostponedProducts later =
        Objects.requireNonNull(postponed.remove(MicrobatchChunk.of(microbatch, chunk)))) {
      later.add();
    }
  }

  private void cross(Tensor gradient, int virtualStage) {
    double factor = scale.stageBoundaryScale(virtualStage);
    if (factor != 1) {
      gradient.mul_(new Scalar(factor));
    }
  }

  @Override
  public Tensor tune(MicrobatchId microbatch, int chunk, Received below) {
    throw new IllegalStateException("training of a whole model has no tuning actions");
  }

  @Override
  public double[] losses() {
    return Tensors.toDoubles(losses);
  }

  @Override
  public void close() {
    forwardTapes.values().forEach(ForwardTape::close);
    postponed.values().forEach(PostponedProducts::close);
    retained.close();
  }
}
