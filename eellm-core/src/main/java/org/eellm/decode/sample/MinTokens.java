package org.eellm.decode.sample;

import java.io.Serializable;
import java.util.Set;
import org.eellm.config.SettingException;
import org.eellm.decode.token.Prediction;

/** A least length of a text: ids that end it cannot be drawn before. */
public record MinTokens(int count, Set<Integer> endTokens) implements Serializable {
  /** A text may end with its first token. */
  public static final MinTokens NONE = new MinTokens(0, Set.of());

  public MinTokens {
    endTokens = Set.copyOf(endTokens);
    if (count < 0) {
      throw new SettingException("min-tokens", count + " is negative; use 0 for no least length");
    }
  }

  /** Whether ids are ruled out at a token's place. */
  boolean appliesTo(Prediction prediction) {
    return prediction.step() < count && !endTokens.isEmpty();
  }

  /** Rules them out. */
  void apply(float[] logits) {
    for (int id : endTokens) {
      if (id < logits.length) {
        logits[id] = Float.NEGATIVE_INFINITY;
      }
    }
  }
}
