package org.eellm.train;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.schedule.FillGradientScale;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.Schedule;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.HeadForward;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.objective.StageExecutor.ForwardTape;
import org.eellm.train.optimizer.GradientReduction;

/** A step's forward and backward passes through the chunks of a rank. */
final class TrainingCompute implements StepCompute {
  private final Schedule schedule;
  private final List<StageExecutor> executors;
  private final List<Integer> virtualStages;
  private final Input input;
  private final Objective objective;
  private final HeadForward headForward;
  private final int replicas;
  private final Gradients gradients;
  private final GradientReduction reduction;
  private final FillGradientScale scale;
  private final double[] losses;
  private final Map<MicrobatchChunk, ForwardTape> forwardTapes = new HashMap<>();

  private record MicrobatchChunk(int microbatch, int chunk) {}

  /**
   * @param executors of the chunks
   * @param virtualStages of the chunks
   * @param replicas of the pipeline
   */
  TrainingCompute(
      Schedule schedule,
      List<StageExecutor> executors,
      List<Integer> virtualStages,
      Input input,
      Objective objective,
      HeadForward headForward,
      int replicas,
      Gradients gradients,
      GradientReduction reduction) {
    this.schedule = schedule;
    this.executors = executors;
    this.virtualStages = virtualStages;
    this.input = input;
    this.objective = objective;
    this.headForward = headForward;
    this.replicas = replicas;
    this.gradients = gradients;
    this.reduction = reduction;
    this.scale = FillGradientScale.of(schedule);
    this.losses = new double[objective.weights().size()];
  }

  @Override
  public Tensor forward(MicrobatchId microbatch, int chunk, Optional<Tensor> below) {
    StageExecutor executor = executors.get(chunk);
    Microbatch batch = input.microbatches().apply(microbatch);
    Optional<Dropout> dropout = input.dropouts().apply(microbatch);
    ForwardTape forwardTape =
        switch (headForward) {
          case DEFERRED -> executor.forward(batch, below, dropout);
          case EAGER -> executor.forwardEagerly(batch, below, dropout, objective);
        };
    if (microbatch.hasBackwardOn(virtualStages.get(chunk))) {
      forwardTapes.put(new MicrobatchChunk(microbatch.index(), chunk), forwardTape);
      return forwardTape.output();
    }
    try (Scope scope = Scope.open();
        forwardTape) {
      return scope.moveToOuter(forwardTape.output());
    }
  }

  @Override
  public Optional<Tensor> backward(
      MicrobatchId microbatch, int chunk, Optional<Tensor> above, boolean last) {
    int virtualStage = virtualStages.get(chunk);
    above.ifPresent(gradient -> cross(gradient, microbatch, virtualStage));
    try (ForwardTape forwardTape =
        Objects.requireNonNull(
            forwardTapes.remove(new MicrobatchChunk(microbatch.index(), chunk)))) {
      StageExecutor.BackwardResult returned =
          executors
              .get(chunk)
              .backward(
                  forwardTape,
                  objective,
                  scale.headScale(microbatch, virtualStage) / replicas,
                  above,
                  gradients,
                  position -> {
                    if (last) {
                      reduction.backwardDone(position);
                    }
                  });
      if (microbatch instanceof Regular) {
        returned
            .heads()
            .forEach(
                head ->
                    losses[head.index()] +=
                        head.loss() / (schedule.microbatches() * (double) replicas));
      }
      return returned.gradient().filter(below -> microbatch.backwardEnd() < virtualStage);
    }
  }

  private void cross(Tensor gradient, MicrobatchId microbatch, int virtualStage) {
    double factor = scale.stageBoundaryScale(microbatch, virtualStage);
    if (factor != 1) {
      gradient.mul_(new Scalar(factor));
    }
  }

  @Override
  public Tensor tune(MicrobatchId microbatch, int chunk, Optional<Tensor> below) {
    throw new IllegalStateException("training of a whole model has no tuning actions");
  }

  @Override
  public double[] losses() {
    return losses.clone();
  }

  @Override
  public void close() {
    forwardTapes.values().forEach(ForwardTape::close);
  }
}
