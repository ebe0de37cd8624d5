package org.eellm.decode.head;

import java.util.List;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.eellm.model.Head;

/** A head's predictions for some rows. Valid until the head is asked again. */
public interface HeadOutput {

  /**
   * An id and how probable it is.
   *
   * @param logProbability natural logarithm
   */
  record TokenScore(int id, double logProbability) {
    /** The ids of the largest logits, best first, the lower of equals; at most {@code count}. */
    public static List<TokenScore> top(float[] logits, int count, IntToDoubleFunction scores) {
      int[] ids = new int[Math.min(count, logits.length)];
      int found = 0;
      for (int id = 0; id < logits.length; id++) {
        if (found < ids.length || ids.length > 0 && logits[id] > logits[ids[found - 1]]) {
          int at = found < ids.length ? found++ : found - 1;
          for (; at > 0 && logits[ids[at - 1]] < logits[id]; at--) {
            ids[at] = ids[at - 1];
          }
          ids[at] = id;
        }
      }
      return IntStream.of(ids)
          .mapToObj(id -> new TokenScore(id, scores.applyAsDouble(id)))
          .toList();
    }
  }

  Head head();

  /**
   * Waits until it is there, if another rank has been asked for it.
   *
   * @throws org.eellm.distributed.DistributedException if that rank has failed
   */
  default void await() {}

  /** Whether {@link #await} returns at once. */
  default boolean isThere() {
    return true;
  }

  /** The most probable id, the lowest among equals. */
  int best(int row);

  /** The probability of {@link #best}; NaN where logits are not numbers. */
  double maxProbability(int row);

  /** How far the probability of {@link #best} is above the next one's. */
  double margin(int row);

  /** The entropy of the distribution, in nats. */
  default double entropy(int row) {
    double mean = 0; // of the logarithms
    int count = logits(row).length;
    for (int id = 0; id < count; id++) {
      double logProbability = logProbability(row, id);
      mean += Math.exp(logProbability) * logProbability;
    }
    return -mean;
  }

  /** The natural logarithm of an id's probability. */
  double logProbability(int row, int id);

  /** The most probable ids, best first; at most {@code count}. */
  List<TokenScore> top(int row, int count);

  /** A copy of the logits, [vocabulary]. */
  float[] logits(int row);

  /** The ids that were asked for, ascending; all, if there are none. */
  default int[] ids() {
    return ALL;
  }

  /** An id's logit; negative infinity beyond a short list. */
  default float logit(int row, int id) {
    return logits(row)[id];
  }

  /**
   * The output of a row with further ids, whose logits are computed one by one. It is this output
   * where all ids were asked for, or where single ones cannot be scored.
   *
   * @param more ids in any order; those of the list change nothing
   */
  default HeadOutput with(int row, int[] more) {
    return this;
  }

  /** A copy of the logits of the shortlist, in their order. */
  default float[] shortlistLogits(int row) {
    return logits(row);
  }

  /**
   * A copy of the head's hidden state, behind its norm, [hidden]. Where a short list was asked for.
   */
  default float[] hidden(int row) {
    throw new IllegalStateException(head().id() + ": the hidden state has stayed where it was");
  }

  /**
   * The scalar product of {@link #hidden} and weights.
   *
   * @param weights [hidden]
   */
  default double timesHidden(int row, float[] weights) {
    float[] hidden = hidden(row);
    double sum = 0;
    for (int i = 0; i < hidden.length; i++) {
      sum += (double) hidden[i] * weights[i];
    }
    return sum;
  }

  /** No list. */
  int[] ALL = {};

  /** This output with all logits divided by a temperature above 0. */
  HeadOutput tempered(double by);
}
