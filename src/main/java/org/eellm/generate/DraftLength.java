package org.eellm.generate;

import org.eellm.config.ConfigException;

/** How many tokens an exit drafts before the full model judges them. */
public sealed interface DraftLength {

  /** Tokens of a draft, at least one. */
  int most();

  /** Whether what the exit says of the next token belongs to the draft. */
  boolean goesOn(Prediction said);

  /** Always as many. */
  record Fixed(int most) implements DraftLength {
    public Fixed {
      requirePositive(most);
    }

    @Override
    public boolean goesOn(Prediction said) {
      return true;
    }
  }

  /**
   * As long as the exit is sure.
   *
   * @param confidence its largest probability at least
   */
  record Adaptive(int most, double confidence) implements DraftLength {
    public Adaptive {
      requirePositive(most);
      if (!(confidence >= 0 && confidence <= 1)) {
        throw new ConfigException(
            "draft-confidence: " + confidence + " is outside [0, 1]; use a probability");
      }
    }

    @Override
    public boolean goesOn(Prediction said) {
      return said.maxProbability() >= confidence;
    }
  }

  private static void requirePositive(int most) {
    if (most < 1) {
      throw new ConfigException("draft-length: " + most + " is below 1; use 1 or more");
    }
  }
}
