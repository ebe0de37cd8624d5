package org.eellm.generate;

import org.eellm.config.SettingException;

/**
 * Makes ids less probable that were there before.
 *
 * @param repetition positive logits of ids in prompt or text are divided by it, negative ones
 *     multiplied (CTRL, arXiv 1909.05858); 1 for none
 * @param presence taken from the logits of ids in the generated text; 0 for none
 * @param frequency taken from these for every time they came; 0 for none
 */
public record Penalties(double repetition, double presence, double frequency) {
  /** Changes nothing. */
  public static final Penalties NONE = new Penalties(1, 0, 0);

  public Penalties {
    if (!(repetition > 0 && Double.isFinite(repetition))) {
      throw new SettingException("repetition-penalty", repetition + " is not positive; 1 is none");
    }
    requireFinite("presence-penalty", presence);
    requireFinite("frequency-penalty", frequency);
  }

  private static void requireFinite(String name, double value) {
    if (!Double.isFinite(value)) {
      throw new SettingException(name, value + " is no finite number; 0 is none");
    }
  }

  void apply(float[] logits, Tokens tokens) {
    if (repetition != 1) {
      int[] counts = tokens.counts(0, logits.length);
      for (int id = 0; id < logits.length; id++) {
        if (counts[id] > 0) {
          logits[id] *= (float) (logits[id] > 0 ? 1 / repetition : repetition);
        }
      }
    }
    if (presence != 0 || frequency != 0) {
      int[] counts = tokens.counts(tokens.promptSize(), logits.length);
      for (int id = 0; id < logits.length; id++) {
        if (counts[id] > 0) {
          logits[id] -= (float) (presence + frequency * counts[id]);
        }
      }
    }
  }
}
