package org.eellm.train;

import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.parameter.Gradients;
import org.eellm.schedule.MicrobatchId;
import org.eellm.train.objective.Chain.HeadResult;
import org.eellm.train.objective.HeadChain;
import org.eellm.train.objective.HeadChain.Taps;
import org.eellm.train.objective.HeadChain.Tuned;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;

/**
 * A step's passes through the chunks of a rank where only heads learn: from text on the way up, or
 * from the final head on the way back, which then takes the top of the stream down the pipeline.
 */
final class TuningWork implements StepWork {
  private final List<HeadChain> chains;
  private final List<Integer> virtualStages;
  private final Function<MicrobatchId, Microbatch> microbatches;
  private final Objective objective;
  private final double share;
  private final Gradients gradients;
  private final double[] losses;
  private final Map<Passage, Taps> waiting = new HashMap<>();

  private record Passage(int microbatch, int chunk) {}

  /**
   * @param chains of the chunks
   * @param virtualStages of the chunks
   * @param share of a microbatch in the step
   */
  TuningWork(
      List<HeadChain> chains,
      List<Integer> virtualStages,
      Function<MicrobatchId, Microbatch> microbatches,
      Objective objective,
      double share,
      Gradients gradients) {
    this.chains = chains;
    this.virtualStages = virtualStages;
    this.microbatches = microbatches;
    this.objective = objective;
    this.share = share;
    this.gradients = gradients;
    this.losses = new double[objective.weights().size()];
  }

  @Override
  public Tensor tune(MicrobatchId microbatch, int chunk, Optional<Tensor> below) {
    Tuned tuned =
        chains.get(chunk).tune(microbatches.apply(microbatch), below, objective, share, gradients);
    add(tuned.heads());
    return tuned.stream();
  }

  @Override
  public Tensor forward(MicrobatchId microbatch, int chunk, Optional<Tensor> below) {
    Taps taps = chains.get(chunk).forward(microbatches.apply(microbatch), below);
    waiting.put(new Passage(microbatch.index(), chunk), taps);
    return taps.output();
  }

  @Override
  public Optional<Tensor> backward(
      MicrobatchId microbatch, int chunk, Optional<Tensor> top, boolean last) {
    Passage passage = new Passage(microbatch.index(), chunk);
    try (Taps taps = Objects.requireNonNull(waiting.remove(passage))) {
      Tensor stream = top.orElseGet(taps::output);
      add(taps.learn(stream, objective, share, gradients));
      return virtualStages.get(chunk) > 0 ? Optional.of(stream.clone()) : Optional.empty();
    }
  }

  private void add(List<HeadResult> heads) {
    heads.forEach(head -> losses[head.index()] += head.loss() * share);
  }

  @Override
  public double[] losses() {
    return losses.clone();
  }

  @Override
  public void close() {
    waiting.values().forEach(Taps::close);
  }
}
