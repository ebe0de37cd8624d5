package org.eellm.train.objective;

/**
 * LayerSkip's layer dropout (arXiv 2404.16710, section 4.1.1): deeper layers are skipped more
 * often, so that the early ones learn to do without them.
 */
public final class LayerDropout {
  private LayerDropout() {}

  /**
   * Each layer's probability of being skipped by a sequence: {@code p_l = maximum (exp(l ln 2 / (L
   * - 1)) - 1)} for {@code l = 0..L-1}, which is 0 at the first layer and {@code maximum} at the
   * last. A model of one layer has just the last.
   *
   * @param maximum the last layer's probability, in [0, 1)
   * @param numLayers the model's layers, at least 1
   */
  public static double[] rates(double maximum, int numLayers) {
    double[] rates = new double[numLayers];
    for (int layer = 0; layer < numLayers - 1; layer++) {
      rates[layer] = maximum * Math.expm1(layer * Math.log(2) / (numLayers - 1));
    }
    rates[numLayers - 1] = maximum;
    return rates;
  }
}
