package org.eellm.decode.token;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Head;

/**
 * A head's prediction of a sequence's next token. Each figure is computed when first asked for, for
 * all sequences of the batch at once. Valid while the policy, or the sampler, that it was given to
 * runs.
 */
public final class Prediction {
  private static final int RECENT = 256; // tokens

  private final HeadOutput output;
  private final int row;
  private final Tokens tokens;
  private final List<Prediction> earlier; // and later ones, as they come
  private final int earlierCount;

  /**
   * @param earlier of the same token; those to come may be added to it
   */
  public Prediction(HeadOutput output, int row, Tokens tokens, List<Prediction> earlier) {
    this(output, row, tokens, earlier, earlier.size());
  }

  private Prediction(
      HeadOutput output, int row, Tokens tokens, List<Prediction> earlier, int earlierCount) {
    this.output = output;
    this.row = row;
    this.tokens = tokens;
    this.earlier = earlier;
    this.earlierCount = earlierCount;
  }

  public Head head() {
    return output.head();
  }

  public HeadId headId() {
    return head().id();
  }

  /** Where the predicted token will stand, from 0. */
  public int position() {
    return tokens.size();
  }

  /** How many tokens have been generated before it. */
  public int step() {
    return tokens.size() - tokens.promptSize();
  }

  public Tokens tokens() {
    return tokens;
  }

  /** Predictions of the same token by the shallower heads that were asked, shallowest first. */
  public List<Prediction> earlier() {
    return List.copyOf(earlier.subList(0, earlierCount));
  }

  /** The most probable id. */
  public int best() {
    return output.best(row);
  }

  public double maxProbability() {
    return output.maxProbability(row);
  }

  /** How far the probability of {@link #best} is above the next one's. */
  public double margin() {
    return output.margin(row);
  }

  /**
   * How far {@link #best} is ahead: 1 less the ratio of the next one's probability to its own. Of
   * what an exit says, it tells best whether the final head will say the same.
   */
  public double relativeMargin() {
    return margin() / maxProbability();
  }

  public double entropy() {
    return output.entropy(row);
  }

  /** The natural logarithm of an id's probability. */
  public double logProbability(int id) {
    return output.logProbability(row, id);
  }

  /** The most probable ids, best first; as many as there are, at most {@code count}. */
  public List<GeneratedToken.Alternative> top(int count) {
    if (count == 0) {
      return List.of();
    }
    List<GeneratedToken.Alternative> top = new ArrayList<>(count);
    for (HeadOutput.TokenScore score : output.top(row, count)) {
      top.add(new GeneratedToken.Alternative(score.id(), score.logProbability()));
    }
    return top;
  }

  /** A copy of the logits, [vocabulary]. */
  public float[] logits() {
    return output.logits(row);
  }

  /** The ids that the head was asked for, ascending; all, if there are none. */
  public int[] shortlistIds() {
    return output.ids();
  }

  /** A copy of the logits of the shortlist, in their order. */
  public float[] shortlistLogits() {
    return output.shortlistLogits(row);
  }

  /** Whether the head was asked for a short list of ids. */
  public boolean isOfShortList() {
    return shortlistIds().length > 0;
  }

  /**
   * This prediction with the ids of the text's last tokens and with further ones, where the head
   * was asked for a short list and can score single ids; else as it is. Most tokens that a list of
   * frequent ids lacks have been there before: a text's own names.
   *
   * @param more in any order
   */
  public Prediction withRecentIds(int[] more) {
    int count = Math.min(RECENT, tokens.size());
    int[] likely = Arrays.copyOf(more, more.length + count);
    tokens.copy(tokens.size() - count, count, likely, more.length);
    HeadOutput extended = output.with(row, likely);
    return extended == output ? this : new Prediction(extended, row, tokens, earlier, earlierCount);
  }

  /** A copy of the head's hidden state, behind its norm; where it was asked for a short list. */
  public float[] hidden() {
    return output.hidden(row);
  }

  /**
   * The scalar product of {@link #hidden} and weights, without a copy.
   *
   * @param weights as many as the hidden state has numbers
   */
  public double timesHidden(float[] weights) {
    return output.timesHidden(row, weights);
  }

  /** This prediction with all logits divided by a temperature; a positive number. */
  public Prediction tempered(double temperature) {
    return temperature == 1
        ? this
        : new Prediction(output.tempered(temperature), row, tokens, earlier, earlierCount);
  }
}
