package org.eellm.bench;

import java.util.Comparator;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.eellm.cost.Median;
import org.eellm.decode.engine.ForwardProfiler;

/**
 * What steps of a shape took, in seconds of one step.
 *
 * @param step of the full model: embedding, all layers, the final head
 * @param layer one layer, on average over all
 * @param heads each head for all rows, shallowest first, the final one last
 * @param parts of the full model's step, by {@link ForwardProfiler.Part}; empty where the runner
 *     tells none
 */
record StepSample(double step, double layer, List<Double> heads, List<Double> parts) {
  StepSample {
    heads = List.copyOf(heads);
    parts = List.copyOf(parts);
  }

  /** Of the step, what the runner's parts do not tell: filling blocks, and calls. */
  double outside() {
    return step - parts.stream().mapToDouble(part -> part).sum();
  }

  /**
   * The sample whose share outside the runner is the middle one; of an even number, the upper of
   * the two. Another program that takes the processor for a moment changes one round's shares, not
   * these.
   */
  static StepSample middle(List<StepSample> samples) {
    return samples.stream()
        .sorted(Comparator.comparingDouble(sample -> sample.outside() / sample.step()))
        .toList()
        .get(samples.size() / 2);
  }

  /** The middle of a figure of samples; of an even number, the upper of the two. */
  static double median(List<StepSample> samples, ToDoubleFunction<StepSample> figure) {
    return Median.of(samples.stream().mapToDouble(figure).toArray());
  }
}
