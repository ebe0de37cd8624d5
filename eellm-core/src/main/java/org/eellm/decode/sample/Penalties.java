package org.eellm.decode.sample;

import java.io.Serializable;
import java.util.Arrays;
import org.eellm.config.SettingException;
import org.eellm.decode.token.Tokens;

/**
 * Makes ids less probable that were there before.
 *
 * @param repetition positive logits of ids in prompt or text are divided by it, negative ones
 *     multiplied (CTRL, arXiv 1909.05858); 1 for none
 * @param presence taken from the logits of ids in the generated text; 0 for none
 * @param frequency taken from these for every time they came; 0 for none
 */
public record Penalties(double repetition, double presence, double frequency)
    implements Serializable {
  /** Changes nothing. */
  public static final Penalties NONE = new Penalties(1, 0, 0);

  /** Of a change of logits, which stay finite with it. */
  static final double MOST = 1e9;

  public Penalties {
    if (!(repetition >= 1 / MOST && repetition <= MOST)) {
      throw new SettingException(
          "repetition-penalty", repetition + " is no number from 1e-9 to 1e9; 1 is none");
    }
    requireBounded("presence-penalty", presence);
    requireBounded("frequency-penalty", frequency);
  }

  private static void requireBounded(String name, double value) {
    if (!(Math.abs(value) <= MOST)) {
      throw new SettingException(name, value + " is no number from -1e9 to 1e9; 0 is none");
    }
  }

  Penalties with(SamplingSetting setting, double value) {
    return new Penalties(
        setting == SamplingSetting.REPETITION_PENALTY ? value : repetition,
        setting == SamplingSetting.PRESENCE_PENALTY ? value : presence,
        setting == SamplingSetting.FREQUENCY_PENALTY ? value : frequency);
  }

  public void apply(float[] logits, Tokens tokens) {
    if (repetition != 1) {
      int[] ids = sorted(tokens, 0);
      for (int i = 0; i < ids.length; i = endOfRun(ids, i)) {
        int id = ids[i];
        if (id < logits.length) {
          logits[id] *= (float) (logits[id] > 0 ? 1 / repetition : repetition);
        }
      }
    }
    if (presence != 0 || frequency != 0) {
      int[] ids = sorted(tokens, tokens.promptSize());
      for (int i = 0; i < ids.length; ) {
        int end = endOfRun(ids, i);
        if (ids[i] < logits.length) {
          logits[ids[i]] -= (float) (presence + frequency * (end - i));
        }
        i = end;
      }
    }
  }

  /** The ids from a position on; a text is shorter than the vocabulary. */
  private static int[] sorted(Tokens tokens, int first) {
    int[] ids = tokens.ids(first, tokens.size());
    Arrays.sort(ids);
    return ids;
  }

  private static int endOfRun(int[] ids, int first) {
    int end = first + 1;
    while (end < ids.length && ids[end] == ids[first]) {
      end++;
    }
    return end;
  }
}
