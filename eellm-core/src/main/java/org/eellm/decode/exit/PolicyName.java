package org.eellm.decode.exit;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.decode.token.Prediction;

/**
 * The exit policies that users can name. Options, requests, sweeps, calibrations and the server's
 * page get their lists of policies from here; docs/dev/exit-policy.md says what else a new one
 * needs.
 */
public enum PolicyName {
  MAX_PROBABILITY(
      "the most probable token's probability is at least the threshold",
      ThresholdRule.confidence(Prediction::maxProbability, 0.9)),
  MARGIN(
      "the most probable token is more probable than the next by at least the threshold",
      ThresholdRule.confidence(Prediction::margin, 0.8)),
  ENTROPY(
      "the entropy in nats is at most the threshold",
      ThresholdRule.uncertainty(Prediction::entropy, 0.5)),
  PATIENCE(
      "as many exits in a row as the setting patience says have the same most probable token",
      new PolicyRule.Counted("patience", 2, "exits in a row that agree", ExitPolicies::patience)),
  FIXED("always; just one exit is in use", PolicyRule.Other.ONE_EXIT),
  FULL("never", PolicyRule.Other.NO_EXIT);

  private final String description;
  private final PolicyRule rule;

  PolicyName(String description, PolicyRule rule) {
    this.description = description;
    this.rule = rule;
  }

  /** When a token leaves at an exit; the words fit behind "where", too. */
  public String description() {
    return description;
  }

  public PolicyRule rule() {
    return rule;
  }

  public Optional<ThresholdRule> thresholdRule() {
    return rule instanceof ThresholdRule compared ? Optional.of(compared) : Optional.empty();
  }

  /** Whether it compares a confidence with a threshold; see {@link ThresholdRule#isConfidence}. */
  public boolean comparesConfidence() {
    return thresholdRule().filter(ThresholdRule::isConfidence).isPresent();
  }

  public static List<PolicyName> withThreshold() {
    return Arrays.stream(values()).filter(name -> name.thresholdRule().isPresent()).toList();
  }

  /** Those whose threshold decays and can be calibrated. */
  public static List<PolicyName> ofConfidence() {
    return Arrays.stream(values()).filter(PolicyName::comparesConfidence).toList();
  }

  /** Names as a list: {@code a, b and c}. */
  public static String listed(List<?> names, String conjunction) {
    int last = names.size() - 1;
    return last < 1
        ? names.stream().map(Object::toString).collect(Collectors.joining())
        : names.subList(0, last).stream().map(Object::toString).collect(Collectors.joining(", "))
            + " %s ".formatted(conjunction)
            + names.get(last);
  }

  /** The name in options, requests and files: {@code max-probability}. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
