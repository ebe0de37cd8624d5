package org.eellm.generate;

import java.util.List;
import org.eellm.generate.GeneratedToken.Alternative;
import org.eellm.model.Head;

/**
 * What an exit of an earlier pipeline stage said of one row, as far as the stages tell each other:
 * all logits would be the largest part of their messages, and no usual policy needs them.
 *
 * @param best the most probable id
 * @param probability of that
 */
record ToldOutput(Head head, int best, double probability) implements HeadOutput {

  @Override
  public int best(int row) {
    return best;
  }

  @Override
  public double maxProbability(int row) {
    return probability;
  }

  @Override
  public double margin(int row) {
    throw untold("margin");
  }

  @Override
  public double entropy(int row) {
    throw untold("entropy");
  }

  @Override
  public double logProbability(int row, int id) {
    if (id == best) {
      return Math.log(probability);
    }
    throw untold("log probability of the id " + id);
  }

  @Override
  public List<Alternative> top(int row, int count) {
    throw untold("alternatives");
  }

  @Override
  public float[] logits(int row) {
    throw untold("logits");
  }

  @Override
  public HeadOutput tempered(double by) {
    throw untold("probabilities at another temperature");
  }

  private GenerateException untold(String figure) {
    return new GenerateException(
        "%s: of an earlier stage's exit, a policy sees best and maxProbability, but not the %s; use fewer stages, or a policy that does without"
            .formatted(head.name(), figure));
  }
}
