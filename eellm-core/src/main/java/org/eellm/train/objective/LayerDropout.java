package org.eellm.train.objective;

import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.TrainConfig;

/**
 * LayerSkip's layer dropout (arXiv 2404.16710, section 4.1.1): deeper layers are skipped more
 * often, so that the early ones learn to do without them.
 */
public final class LayerDropout {
  private LayerDropout() {}

  /**
   * Each layer's probability of being skipped by a sequence: {@code p_l = S(t) D(l) maximum}. Over
   * the layers {@code D(l) = exp(l ln 2 / (L - 1)) - 1} for {@code l = 0..L-1}, which is 0 at the
   * first layer and 1 at the last. Over the steps {@code S(t) = 1}, or with the exponential
   * curriculum {@code exp(t ln 2 / (T - 1)) - 1} for {@code t = 0..T-1}, which is 0 at the first
   * step and 1 at the last. A model of one layer has just the last, and so has a run of one step.
   *
   * @param numLayers the model's layers, at least 1
   * @param step the step, from 1
   */
  public static List<Double> at(TrainConfig train, int numLayers, long step) {
    double maximum =
        switch (train.layerDropoutCurriculum()) {
          case CONSTANT -> train.layerDropout();
          case EXPONENTIAL -> train.layerDropout() * growth(step - 1, train.steps());
        };
    return IntStream.range(0, numLayers)
        .mapToObj(layer -> maximum * growth(layer, numLayers))
        .toList();
  }

  /** From 0 for the first of a number of things to exactly 1 for the last. */
  private static double growth(long index, long count) {
    return index == count - 1 ? 1 : Math.expm1(index * Math.log(2) / (count - 1));
  }
}
