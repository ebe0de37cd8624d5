package org.eellm.decode.cost;

import java.util.Comparator;
import java.util.List;
import java.util.function.ToDoubleFunction;
import org.eellm.cost.Median;
import org.eellm.decode.engine.ForwardProfiler;

/**
 * What steps of a shape took, in seconds of one step.
 *
 * @param step of the full model: embedding, all layers, the final head
 * @param embedding of the rows
 * @param layer one layer, on average over all
 * @param heads each head for all rows, shallowest first, the final one last
 * @param drafts each exit for all rows, of the ids that exits draft from, shallowest first
 * @param parts of the full model's step, by {@link ForwardProfiler.Part}; empty where the runner
 *     tells none
 */
public record StepSample(
    double step,
    double embedding,
    double layer,
    List<Double> heads,
    List<Double> drafts,
    List<Double> parts) {
  public StepSample {
    heads = List.copyOf(heads);
    drafts = List.copyOf(drafts);
    parts = List.copyOf(parts);
  }

  /** Of the step, what the runner's parts do not tell: filling blocks, and calls. */
  public double outside() {
    return step - parts.stream().mapToDouble(part -> part).sum();
  }

  /**
   * The sample whose share outside the runner is the middle one; of an even number, the upper of
   * the two. Another program that takes the processor for a moment changes one round's shares, not
   * these.
   */
  public static StepSample middle(List<StepSample> samples) {
    return samples.stream()
        .sorted(Comparator.comparingDouble(sample -> sample.outside() / sample.step()))
        .toList()
        .get(samples.size() / 2);
  }

  /** The middle of a figure of samples; of an even number, the upper of the two. */
  public static double median(List<StepSample> samples, ToDoubleFunction<StepSample> figure) {
    return Median.of(samples.stream().mapToDouble(figure).toArray());
  }
}
