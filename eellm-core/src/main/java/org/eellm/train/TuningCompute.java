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
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Tensors;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.HeadTuningExecutor.TapActivations;
import org.eellm.train.objective.HeadTuningExecutor.Tuned;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor.HeadResult;

/**
 * A step's passes through the chunks of a rank where only heads learn: from text in the forward
 * pass, or from the final head in the backward pass, which then takes the top of the stream down
 * the pipeline.
 */
final class TuningCompute implements StepCompute {
  private final List<HeadTuningExecutor> executors;
  private final Function<MicrobatchId, Microbatch> microbatches;
  private final Objective objective;
  private final double tokenWeight;
  private final Gradients gradients;
  private final RetainedTensors retained = new RetainedTensors();
  private final Tensor losses;
  private final Map<MicrobatchChunk, TapActivations> waiting = new HashMap<>();

  /**
   * @param executors of the chunks
   * @param tokenWeight of each counted token's loss in the step
   */
  TuningCompute(
      List<HeadTuningExecutor> executors,
      Function<MicrobatchId, Microbatch> microbatches,
      Objective objective,
      double tokenWeight,
      Gradients gradients) {
    this.executors = executors;
    this.microbatches = microbatches;
    this.objective = objective;
    this.tokenWeight = tokenWeight;
    this.gradients = gradients;
    this.losses = StepCompute.losses(objective, gradients, retained);
  }

  @Override
  public Tensor tune(MicrobatchId microbatch, int chunk, Received below) {
    Tuned tuned =
        executors
            .get(chunk)
            .tune(microbatches.apply(microbatch), below, objective, tokenWeight, gradients);
    add(tuned.heads());
    return tuned.stream();
  }

  @Override
  public Tensor forward(MicrobatchId microbatch, int chunk, Received below) {
    TapActivations taps = executors.get(chunk).forward(microbatches.apply(microbatch), below);
    waiting.put(MicrobatchChunk.of(microbatch, chunk), taps);
    return taps.output();
  }

  @Override
  public Optional<Tensor> backward(MicrobatchId microbatch, int chunk, Received top, boolean last) {
    MicrobatchChunk microbatchChunk = MicrobatchChunk.of(microbatch, chunk);
    try (TapActivations taps = Objects.requireNonNull(waiting.remove(microbatchChunk))) {
      Tensor stream = top.orElseGet(taps::output);
      add(taps.distill(stream, objective, tokenWeight, gradients));
      return executors.get(chunk).virtualStage() > 0
          ? Optional.of(stream.clone())
          : Optional.empty();
    }
  }

  private void add(List<HeadResult> heads) {
    heads.forEach(head -> head.addTo(losses, tokenWeight));
  }

  @Override
  public double[] losses() {
    return Tensors.toDoubles(losses);
  }

  @Override
  public void close() {
    waiting.values().forEach(TapActivations::close);
    retained.close();
  }
}
