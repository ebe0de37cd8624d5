package org.eellm.decode.exit;

import java.io.Serializable;
import java.util.Arrays;
import java.util.Map;
import org.eellm.config.SettingException;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.token.Prediction;
import org.eellm.model.DecodingModel;

/**
 * A logistic model that says how probably an exit's token is the full model's, from what the exit
 * says of a short list of ids and those of the text's last tokens, and from its normed hidden state
 * (after SpecEE, arXiv 2504.08850).
 *
 * @param bias added to all
 * @param logOdds weight of the logarithm of {@code p / (1 - p)}, where p is the largest probability
 *     among these
 * @param gap weight of the logarithm of {@code p / q}, where q is the next largest
 * @param hidden weights of the hidden state, [hidden]
 */
public record Gate(double bias, double logOdds, double gap, float[] hidden)
    implements Serializable {
  /** The largest log odds, and the largest gap: beyond it probabilities are all but sure. */
  public static final double MOST = 15;

  public Gate {
    hidden = hidden.clone();
  }

  public long bytes() {
    return 3L * Double.BYTES + (long) hidden.length * Float.BYTES;
  }

  /**
   * How probably a prediction of the short list and recent ids is the full model's, from 0 to 1.
   */
  public double confidence(Prediction prediction) {
    double z = bias + prediction.timesHidden(hidden);
    z += logOdds * logOdds(prediction) + gap * gap(prediction);
    return 1 / (1 + Math.exp(-z));
  }

  /** The logarithm of {@code p / (1 - p)}, from -{@link #MOST} to {@link #MOST}. */
  public static double logOdds(Prediction prediction) {
    double p = prediction.maxProbability();
    return Math.clamp(Math.log(p / (1 - p)), -MOST, MOST);
  }

  /** The logarithm of {@code p / q}, up to {@link #MOST}. */
  public static double gap(Prediction prediction) {
    double p = prediction.maxProbability();
    double q = Math.max(p - prediction.margin(), 1e-12);
    return Math.clamp(Math.log(p / q), 0, MOST);
  }

  /**
   * Refuses gates where there is no short list, or none with hidden states.
   *
   * @param gates by their exits' layers, from 1; none is never refused
   * @throws SettingException that names the setting {@code calibration}
   */
  public static void requireModel(
      Map<Integer, Gate> gates, DecodingModel model, Vocabulary vocabulary) {
    if (gates.isEmpty()) {
      return;
    }
    if (model.parallel().size() > 1 || model.headsHere().size() < model.allHeads().size()) {
      throw new SettingException(
          "calibration",
          "its gates need the whole model on one rank; leave out --tp and --pp, or give a"
              + " calibration without gates");
    }
    if (vocabulary.draftIds().isEmpty()) {
      throw new SettingException(
          "calibration",
          "its gates read a short list of tokens, and this model has none; make list and gates with"
              + " calibrate --gate --draft-vocabulary 1024");
    }
    int width = model.architecture().model().hiddenSize();
    gates.forEach(
        (layer, gate) -> {
          if (gate.hidden.length != width) {
            throw new SettingException(
                "calibration",
                "the gate of exit %d has %d weights of the hidden state, and this model's has %d numbers; calibrate this model"
                    .formatted(layer, gate.hidden.length, width));
          }
        });
  }

  @Override
  public float[] hidden() {
    return hidden.clone();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Gate gate
        && bias == gate.bias
        && logOdds == gate.logOdds
        && gap == gate.gap
        && Arrays.equals(hidden, gate.hidden);
  }

  /** Depends on the weights alone, so that it is the same in every process. */
  @Override
  public int hashCode() {
    return Arrays.hashCode(new double[] {bias, logOdds, gap}) * 31 + Arrays.hashCode(hidden);
  }

  @Override
  public String toString() {
    return "Gate[%d weights, %08x]".formatted(hidden.length, hashCode());
  }
}
