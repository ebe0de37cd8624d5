package org.eellm.train;

import java.util.List;

/**
 * The weighted sum of the heads' losses that a step minimises: {@code sum_h weight_h L_h}, averaged
 * over microbatches (EE-LLM, arXiv 2312.04916, equation 1).
 *
 * @param weights of the exits in order of depth, then of the final head; a head of weight 0 is not
 *     computed
 * @param temperatures each head's logits are divided by this in its loss
 * @param dynamicTokenWeights a token's loss at an exit is multiplied by that exit's maximum
 *     probability, a constant for the gradient; the final head's is not
 */
public record Objective(
    List<Double> weights, List<Double> temperatures, boolean dynamicTokenWeights) {
  public Objective {
    weights = List.copyOf(weights);
    temperatures = List.copyOf(temperatures);
  }
}
