package org.eellm.train;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import org.eellm.config.ModelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.data.SampleSource;
import org.eellm.model.Dropout;
import org.eellm.model.Gradients;
import org.eellm.tensor.Scope;
import org.eellm.train.StepGuard.Verdict;

/**
 * Takes optimizer steps: microbatches forward and backward, the guard's verdict, clipping, update.
 * What a step does follows from its number, the configuration, and the state of model, optimizer
 * and guard.
 */
final class StepRunner implements AutoCloseable {
  private final RunConfig config;
  private final SampleSource samples;
  private final RunState state;
  private final Gradients gradients;
  private final Chain chain;

  StepRunner(RunConfig config, SampleSource samples, RunState state) {
    this.config = config;
    this.samples = samples;
    this.state = state;
    TrainConfig train = config.train();
    double[] layerDropout = LayerDropout.rates(train.layerDropout(), config.model().numLayers());
    this.chain = new Chain(state.model(), train.recompute(), layerDropout);
    this.gradients = new Gradients(state.model().parameters());
  }

  /** What happened in a step; the fields are those of {@link TrainEvent.Step}. */
  record Result(
      double loss,
      SequencedMap<String, Double> losses,
      SequencedMap<String, Double> exitWeights,
      double learningRate,
      double gradientNorm,
      int batchSize,
      Verdict verdict) {}

  /**
   * Takes a step.
   *
   * @param step from 1
   * @throws TrainException if the guard ends the run
   */
  Result take(long step) {
    long firstSample = BatchSize.samplesBefore(config.train(), step);
    int batchSize = BatchSize.at(config.train(), firstSample);
    SequencedMap<String, Double> exitWeights = exitWeights(step);
    double rate = LearningRate.at(config.optimizer(), config.train().steps(), step);
    try (Scope scope = Scope.open()) {
      SequencedMap<String, Double> losses =
          forwardBackward(step, firstSample, batchSize, objective(exitWeights));
      double loss = 0;
      for (var head : losses.entrySet()) {
        loss += exitWeights.getOrDefault(head.getKey(), 1.0) * head.getValue();
      }
      double norm = AdamW.norm(gradients);
      Verdict verdict = state.guard().judge(step, loss, norm);
      if (verdict == Verdict.APPLY) {
        double clip = AdamW.clipScale(norm, config.optimizer().clipNorm());
        state.optimizer().update(gradients, clip, rate, step - state.guard().skipped());
      }
      return new Result(loss, losses, exitWeights, rate, norm, batchSize, verdict);
    }
  }

  /** Sums the step's gradients; each computed head's loss is the mean over the microbatches. */
  private SequencedMap<String, Double> forwardBackward(
      long step, long firstSample, int batchSize, Objective objective) {
    int size = config.train().microBatchSize();
    int count = batchSize / size;
    SequencedMap<String, Double> losses = new LinkedHashMap<>();
    gradients.start();
    for (int i = 0; i < count; i++) {
      Microbatch batch = Microbatch.of(samples, firstSample + (long) i * size, size);
      chain
          .forwardBackward(batch, objective, 1.0 / count, dropout(step, i), gradients)
          .forEach(head -> losses.merge(head.head(), head.loss() / count, Double::sum));
    }
    gradients.finish();
    return losses;
  }

  private SequencedMap<String, Double> exitWeights(long step) {
    double[] weights = ExitWeights.at(config.exits(), step);
    SequencedMap<String, Double> byName = new LinkedHashMap<>();
    for (int exit = 0; exit < weights.length; exit++) {
      byName.put(TrainEvent.exitName(config.exits().layers().get(exit)), weights[exit]);
    }
    return byName;
  }

  private Objective objective(SequencedMap<String, Double> exitWeights) {
    List<Double> weights = new ArrayList<>(exitWeights.values());
    weights.add(1.0);
    List<Double> temperatures = new ArrayList<>(config.exits().temperatures());
    temperatures.add(1.0);
    return new Objective(weights, temperatures, config.exits().dynamicTokenWeights());
  }

  private Optional<Dropout> dropout(long step, int microbatch) {
    ModelConfig model = config.model();
    boolean used =
        model.hiddenDropout() > 0
            || model.attentionDropout() > 0
            || config.train().layerDropout() > 0;
    long key = Dropout.mix(Dropout.mix(config.train().seed(), step), microbatch);
    return used ? Optional.of(new Dropout(key)) : Optional.empty();
  }

  @Override
  public void close() {
    gradients.close();
  }
}
