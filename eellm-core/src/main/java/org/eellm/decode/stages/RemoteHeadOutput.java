package org.eellm.decode.stages;

import java.util.List;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.request.GenerateException;
import org.eellm.model.Head;

/**
 * What an exit of an earlier pipeline stage predicted of one row, as far as the stages tell each
 * other: all logits would be the largest part of their messages, and no usual policy needs them.
 *
 * @param best the most probable id
 * @param probability of that
 */
record RemoteHeadOutput(Head head, int best, double probability) implements HeadOutput {

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
    throw unknown("margin");
  }

  @Override
  public double entropy(int row) {
    throw unknown("entropy");
  }

  @Override
  public double logProbability(int row, int id) {
    if (id == best) {
      return Math.log(probability);
    }
    throw unknown("log probability of the id " + id);
  }

  @Override
  public List<TokenScore> top(int row, int count) {
    throw unknown("alternatives");
  }

  @Override
  public float[] logits(int row) {
    throw unknown("logits");
  }

  @Override
  public HeadOutput tempered(double by) {
    throw unknown("probabilities at another temperature");
  }

  private GenerateException unknown(String figure) {
    return new GenerateException(
        "%s: of an earlier stage's exit, a policy sees best and maxProbability, but not the %s; use fewer stages, or a policy that does without"
            .formatted(head.id(), figure));
  }
}
