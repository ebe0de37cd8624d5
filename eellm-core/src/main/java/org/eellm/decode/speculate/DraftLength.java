package org.eellm.decode.speculate;

import java.io.Serializable;
import org.eellm.config.SettingException;

/** How many tokens are drafted before the full model verifies them. */
public sealed interface DraftLength extends Serializable {

  /**
   * Most tokens that a draft may have: what the full model verifies at once is computed at once.
   */
  int MAX_TOKENS = 64;

  /** Tokens of a draft, from 1 to {@link #MAX_TOKENS}. */
  int most();

  /**
   * Whether what the drafter says of the next token belongs to the draft.
   *
   * @param margin how far its choice is ahead, or how likely it is to hold, from 0 to 1
   */
  boolean keepsDrafting(double margin);

  record Fixed(int most) implements DraftLength {
    public Fixed {
      requireBounded(most);
    }

    @Override
    public boolean keepsDrafting(double margin) {
      return true;
    }
  }

  /**
   * As long as the exit is sure.
   *
   * @param least margin of its choice
   */
  record Adaptive(int most, double least) implements DraftLength {
    public Adaptive {
      requireBounded(most);
      if (!(least >= 0 && least <= 1)) {
        throw new SettingException(
            "draft-margin", least + " is outside [0, 1]; use a number from 0 to 1");
      }
    }

    @Override
    public boolean keepsDrafting(double margin) {
      return margin >= least;
    }
  }

  private static void requireBounded(int most) {
    if (most < 1 || most > MAX_TOKENS) {
      throw new SettingException(
          "draft-length", "%d is not a whole number in 1..%d".formatted(most, MAX_TOKENS));
    }
  }
}
