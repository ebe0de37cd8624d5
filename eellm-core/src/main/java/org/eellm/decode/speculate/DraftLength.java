package org.eellm.decode.speculate;

import java.io.Serializable;
import org.eellm.config.SettingException;

/** How many tokens an exit drafts before the full model verifies them. */
public sealed interface DraftLength extends Serializable {

  /**
   * Most tokens that a draft may have: what the full model verifies at once is computed at once.
   */
  int MAX_TOKENS = 64;

  /** Tokens of a draft, from 1 to {@link #MAX_TOKENS}. */
  int most();

  /**
   * Whether what the exit says of the next token belongs to the draft.
   *
   * @param lead how far its choice is ahead, from 0 to 1
   */
  boolean keepsDrafting(double lead);

  /** Always as many. */
  record Fixed(int most) implements DraftLength {
    public Fixed {
      requireBounded(most);
    }

    @Override
    public boolean keepsDrafting(double lead) {
      return true;
    }
  }

  /**
   * As long as the exit is confident.
   *
   * @param confidence how far its choice is ahead at least
   */
  record Adaptive(int most, double confidence) implements DraftLength {
    public Adaptive {
      requireBounded(most);
      if (!(confidence >= 0 && confidence <= 1)) {
        throw new SettingException(
            "draft-confidence", confidence + " is outside [0, 1]; use a number from 0 to 1");
      }
    }

    @Override
    public boolean keepsDrafting(double lead) {
      return lead >= confidence;
    }
  }

  private static void requireBounded(int most) {
    if (most < 1 || most > MAX_TOKENS) {
      throw new SettingException(
          "draft-length", "%d is not a whole number in 1..%d".formatted(most, MAX_TOKENS));
    }
  }
}
