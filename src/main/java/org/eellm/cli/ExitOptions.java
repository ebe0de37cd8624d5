package org.eellm.cli;

import static java.util.function.Predicate.not;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.generate.Calibration;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.ExitPolicy;
import org.eellm.generate.Limits;
import org.eellm.generate.Threshold;
import org.eellm.generate.ThresholdKind;
import picocli.CommandLine.Option;

/** Where tokens leave the model, as a mixin. What has no effect on the policy is refused. */
final class ExitOptions {
  @Option(
      names = "--policy",
      paramLabel = "POLICY",
      description =
          "When a token leaves at an exit. max-probability: its probability is at least the"
              + " threshold. margin: it is that far ahead of the next. entropy: at most the"
              + " threshold, in nats. patience: that many exits in a row agree. fixed: always, at"
              + " the one of --exits. full: never. By default max-probability, or full for a model"
              + " without exits.")
  private Optional<Policy> policy;

  @Option(
      names = "--threshold",
      paramLabel = "X",
      description =
          "For max-probability (0.9 by default), margin (0.8) and entropy (0.5): a number, or one"
              + " for each exit in use, as in 2=0.8,4=0.9.")
  private Optional<String> threshold;

  @Option(
      names = "--threshold-decay",
      paramLabel = "X",
      description =
          "For max-probability and margin: the threshold is 0.1 exp(-X t / max-tokens) + 0.9 times"
              + " itself at token t, so that early tokens leave less easily (CALM takes 4).")
  private Optional<Double> decay;

  @Option(
      names = "--calibration",
      paramLabel = "FILE",
      description =
          "Policy, exits and thresholds from a JSON file, in place of --policy, --exits and"
              + " --threshold; docs/generation.md has its form.")
  private Optional<Path> calibration;

  @Option(
      names = "--patience",
      paramLabel = "K",
      description = "For the policy patience: exits in a row that agree; 2 by default.")
  private Optional<Integer> patience;

  @Option(
      names = "--exits",
      split = ",",
      paramLabel = "LAYER",
      description = "Layers of the exits to use, as in 2,4; all by default.")
  private List<Integer> layers = List.of();

  @Option(
      names = "--max-pending",
      paramLabel = "N",
      description =
          "Hidden states that may wait at an exit before they go through the layers above; "
              + Limits.MAX_PENDING
              + " by default. Changes speed, but no text.")
  private Optional<Integer> maxPending;

  private enum Policy {
    MAX_PROBABILITY(0.9),
    MARGIN(0.8),
    ENTROPY(0.5),
    PATIENCE(Double.NaN),
    FIXED(Double.NaN),
    FULL(Double.NaN);

    private final double threshold;

    Policy(double threshold) {
      this.threshold = threshold;
    }

    boolean decays() {
      return this == MAX_PROBABILITY || this == MARGIN;
    }

    boolean hasThreshold() {
      return !Double.isNaN(threshold);
    }

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  /** The first of these options that was given. */
  Optional<String> given() {
    return Stream.of(
            policy.map(value -> "--policy"),
            threshold.map(value -> "--threshold"),
            decay.map(value -> "--threshold-decay"),
            calibration.map(value -> "--calibration"),
            patience.map(value -> "--patience"),
            layers.isEmpty() ? Optional.<String>empty() : Optional.of("--exits"),
            maxPending.map(value -> "--max-pending"))
        .flatMap(Optional::stream)
        .findFirst();
  }

  /**
   * The policy for a model.
   *
   * @param available layers of the model's exits
   * @param maxTokens most tokens of the text
   * @throws ConfigException if an option is not for the policy, or the policy not for the model
   */
  ExitPolicy policy(List<Integer> available, int maxTokens) {
    if (calibration.isPresent()) {
      return calibrated(calibration.get(), maxTokens);
    }
    Policy chosen = policy.orElse(available.isEmpty() ? Policy.FULL : Policy.MAX_PROBABILITY);
    refuse(threshold.isPresent() && !chosen.hasThreshold(), "--threshold", chosen);
    refuse(decay.isPresent() && !chosen.decays(), "--threshold-decay", chosen);
    refuse(patience.isPresent() && chosen != Policy.PATIENCE, "--patience", chosen);
    refuse(!layers.isEmpty() && chosen == Policy.FULL, "--exits", chosen);
    refuse(
        maxPending.isPresent() && (chosen == Policy.FIXED || chosen == Policy.FULL),
        "--max-pending",
        chosen);
    if (chosen != Policy.FULL && available.isEmpty()) {
      throw new ConfigException(
          "--policy: %s needs exits, and this model has none; use full".formatted(chosen));
    }
    for (int layer : layers) {
      if (!available.contains(layer)) {
        throw new ConfigException(
            "--exits: there is no exit after layer %d; this model has exits after %s"
                .formatted(layer, listed(available)));
      }
    }
    List<Integer> used = layers.isEmpty() ? available : layers;
    return switch (chosen) {
      case MAX_PROBABILITY ->
          among(used, ExitPolicies.maxProbability(threshold(chosen, used, maxTokens)));
      case MARGIN -> among(used, ExitPolicies.margin(threshold(chosen, used, maxTokens)));
      case ENTROPY -> among(used, ExitPolicies.entropy(threshold(chosen, used, maxTokens)));
      case PATIENCE -> among(used, ExitPolicies.patience(patience.orElse(2)));
      case FIXED -> ExitPolicies.fixed(only(used));
      case FULL -> ExitPolicies.full();
    };
  }

  private ExitPolicy calibrated(Path file, int maxTokens) {
    for (Optional<String> given :
        List.of(
            policy.map(value -> "--policy"),
            threshold.map(value -> "--threshold"),
            patience.map(value -> "--patience"),
            layers.isEmpty() ? Optional.<String>empty() : Optional.of("--exits"))) {
      given.ifPresent(
          option -> {
            throw new ConfigException(
                option + " has no effect with --calibration, whose file says it; leave it out");
          });
    }
    try {
      Calibration read = Calibration.read(file);
      if (decay.isPresent() && read.kind() == ThresholdKind.ENTROPY) {
        throw new ConfigException(
            "--threshold-decay has no effect with the policy entropy; leave it out");
      }
      return read.policy(threshold -> decaying(threshold, maxTokens));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Threshold decaying(Threshold threshold, int maxTokens) {
    return decay.map(value -> Threshold.decaying(threshold, value, maxTokens)).orElse(threshold);
  }

  int maxPending() {
    return maxPending.orElse(Limits.MAX_PENDING);
  }

  private static ExitPolicy among(List<Integer> used, ExitPolicy policy) {
    return ExitPolicies.among(used, policy);
  }

  private void refuse(boolean condition, String option, Policy chosen) {
    if (condition) {
      throw new ConfigException(
          option
              + " has no effect with the policy "
              + chosen
              + (policy.isEmpty() && chosen == Policy.FULL
                  ? ", which a model without exits has"
                  : "")
              + "; leave it out");
    }
  }

  private static int only(List<Integer> used) {
    if (used.size() != 1) {
      throw new ConfigException(
          "--policy: fixed needs one exit; name it with --exits, one of " + listed(used));
    }
    return used.getFirst();
  }

  private Threshold threshold(Policy chosen, List<Integer> used, int maxTokens) {
    return decaying(threshold(chosen, used), maxTokens);
  }

  private Threshold threshold(Policy chosen, List<Integer> used) {
    String text = threshold.orElse(Double.toString(chosen.threshold));
    if (!text.contains("=")) {
      return Threshold.of(number(text, text));
    }
    Map<Integer, Double> byLayer = new TreeMap<>();
    for (String pair : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      String layer = pair.substring(0, Math.max(0, equals)).strip();
      if (!used.stream().map(String::valueOf).toList().contains(layer)) {
        throw new ConfigException(
            "--threshold: '%s' in '%s' names no exit in use; write LAYER=X for each of %s"
                .formatted(pair, text, listed(used)));
      }
      byLayer.put(Integer.valueOf(layer), number(pair.substring(equals + 1), text));
    }
    if (byLayer.size() < used.size()) {
      throw new ConfigException(
          "--threshold: '%s' has none for the exits after %s; write LAYER=X for each exit in use"
              .formatted(text, listed(used.stream().filter(not(byLayer::containsKey)).toList())));
    }
    return Threshold.perLayer(byLayer);
  }

  private static double number(String number, String text) {
    try {
      double value = Double.parseDouble(number);
      if (Double.isFinite(value)) {
        return value;
      }
    } catch (NumberFormatException expected) {
      // said below, for numbers that are not finite alike
    }
    throw new ConfigException(
        "--threshold: '%s' is no number or list of them; write 0.9, or 2=0.8,4=0.9"
            .formatted(text));
  }

  static String listed(List<Integer> layers) {
    return layers.stream().map(layer -> "layer " + layer).collect(Collectors.joining(", "));
  }
}
