package org.eellm.train.objective;

import java.util.List;

/**
 * The weighted sum of the heads' losses that a step minimises: {@code sum_h weight_h L_h}, averaged
 * over the counted tokens of its batch (EE-LLM, arXiv 2312.04916, equation 1).
 *
 * @param weights of the exits in order of depth, then of the final head; a head of weight 0 is not
 *     computed
 * @param temperatures each head's logits are divided by this in its loss
 * @param dynamicTokenWeights a token's loss at an exit is multiplied by that exit's maximum
 *     probability, a constant for the gradient; the final head's is not
 * @param distillation weight, beside an exit's cross entropy, of its divergence from the final head
 * @param draftWeights of a draft head's losses: of the next token, of the one behind it, and so on;
 *     empty where none learns
 */
public record Objective(
    List<Double> weights,
    List<Double> temperatures,
    boolean dynamicTokenWeights,
    double distillation,
    List<Double> draftWeights) {
  public Objective {
    weights = List.copyOf(weights);
    temperatures = List.copyOf(temperatures);
    draftWeights = List.copyOf(draftWeights);
  }

  /** Without a draft head. */
  public Objective(
      List<Double> weights,
      List<Double> temperatures,
      boolean dynamicTokenWeights,
      double distillation) {
    this(weights, temperatures, dynamicTokenWeights, distillation, List.of());
  }

  /** How many heads may have a loss. */
  public int heads() {
    return weights.size() + (draftWeights.isEmpty() ? 0 : 1);
  }

  /** Of a pass from which nothing is learned. */
  public static Objective none() {
    return new Objective(List.of(), List.of(), false, 0);
  }
}
