package org.eellm.decode.exit;

import java.util.Locale;
import java.util.Optional;

/** The {@link ExitPolicies} by name. */
public enum PolicyName {
  MAX_PROBABILITY(0.9, ThresholdKind.MAX_PROBABILITY),
  MARGIN(0.8, ThresholdKind.MARGIN),
  ENTROPY(0.5, ThresholdKind.ENTROPY),
  PATIENCE,
  FIXED,
  FULL;

  private final double threshold;
  private final Optional<ThresholdKind> kind;

  PolicyName() {
    threshold = Double.NaN;
    kind = Optional.empty();
  }

  PolicyName(double threshold, ThresholdKind kind) {
    this.threshold = threshold;
    this.kind = Optional.of(kind);
  }

  /** What it compares with a threshold, if it does. */
  public Optional<ThresholdKind> kind() {
    return kind;
  }

  /** The threshold if none is given; not a number where {@link #kind} is empty. */
  public double defaultThreshold() {
    return threshold;
  }

  /** The name in options and requests: {@code max-probability}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
