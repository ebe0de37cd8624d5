package org.eellm.decode.exit;

import java.util.Locale;

/** The policies that compare a figure with a threshold. */
public enum ThresholdKind {
  MAX_PROBABILITY {
    @Override
    public ExitPolicy policy(Threshold threshold) {
      return ExitPolicies.maxProbability(threshold);
    }
  },
  MARGIN {
    @Override
    public ExitPolicy policy(Threshold threshold) {
      return ExitPolicies.margin(threshold);
    }
  },
  ENTROPY {
    @Override
    public ExitPolicy policy(Threshold threshold) {
      return ExitPolicies.entropy(threshold);
    }
  };

  /** The policy with a threshold. */
  public abstract ExitPolicy policy(Threshold threshold);

  /** The name in options and files: {@code max-probability}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
