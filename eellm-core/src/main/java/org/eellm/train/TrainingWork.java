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
import org.eellm.schedule.FillScale;
import org.eellm.schedule.MicrobatchId;
import org.eellm.schedule.MicrobatchId.Regular;
import org.eellm.schedule.Schedule;
import org.eellm.tensor.Scope;
import org.eellm.train.objective.Chain;
import org.eellm.train.objective.Chain.Walk;
import org.eellm.train.objective.HeadForward;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.optimizer.GradientReduction;

/** A step's forward and backward passes through the chunks of a rank. */
final class TrainingWork implements StepWork {
  private final Schedule schedule;
  private final List<Chain> chains;
  private final List<Integer> virtualStages;
  private final Input input;
  private final Objective objective;
  private final HeadForward headForward;
  private final int replicas;
  private final Gradients gradients;
  private final GradientReduction reduction;
  private final FillScale scale;
  private final double[] losses;
  private final Map<Passage, Walk> walks = new HashMap<>();

  private record Passage(int microbatch, int chunk) {}

  /**
   * @param chains of the chunks
   * @param virtualStages of the chunks
   * @param replicas of the pipeline
   */
  TrainingWork(
      Schedule schedule,
      List<Chain> chains,
      List<Integer> virtualStages,
      Input input,
      Objective objective,
      HeadForward headForward,
      int replicas,
      Gradients gradients,
      GradientReduction reduction) {
    this.schedule = schedule;
    this.chains = chains;
    this.virtualStages = virtualStages;
    this.input = input;
    this.objective = objective;
    this.headForward = headForward;
    this.replicas = replicas;
    this.gradients = gradients;
    this.reduction = reduction;
    this.scale = FillScale.of(schedule);
    this.losses = new double[objective.weights().size()];
  }

  @Override
  public Tensor forward(MicrobatchId microbatch, int chunk, Optional<Tensor> below) {
    Chain chain = chains.get(chunk);
    Microbatch batch = input.microbatches().apply(microbatch);
    Optional<Dropout> dropout = input.dropouts().apply(microbatch);
    Walk walk =
        switch (headForward) {
          case DEFERRED -> chain.forward(batch, below, dropout);
          case EAGER -> chain.forwardEagerly(batch, below, dropout, objective);
        };
    if (microbatch.goesBackThrough(virtualStages.get(chunk))) {
      walks.put(new Passage(microbatch.index(), chunk), walk);
      return walk.output();
    }
    try (Scope scope = Scope.open();
        walk) {
      return scope.pass(walk.output());
    }
  }

  @Override
  public Optional<Tensor> backward(
      MicrobatchId microbatch, int chunk, Optional<Tensor> above, boolean last) {
    int virtualStage = virtualStages.get(chunk);
    above.ifPresent(gradient -> cross(gradient, microbatch, virtualStage));
    try (Walk walk = Objects.requireNonNull(walks.remove(new Passage(microbatch.index(), chunk)))) {
      Chain.Returned returned =
          chains
              .get(chunk)
              .backward(
                  walk,
                  objective,
                  scale.headScale(microbatch, virtualStage) / replicas,
                  above,
                  gradients,
                  position -> {
                    if (last) {
                      reduction.passed(position);
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
    double factor = scale.crossingScale(microbatch, virtualStage);
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
    walks.values().forEach(Walk::close);
  }
}
