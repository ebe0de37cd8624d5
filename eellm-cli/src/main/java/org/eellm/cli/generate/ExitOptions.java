package org.eellm.cli.generate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.request.Limits;
import picocli.CommandLine.Option;

/** Where tokens leave the model, as a mixin. What has no effect on the policy is refused. */
final class ExitOptions {
  @Option(
      names = "--policy",
      paramLabel = "POLICY",
      description =
          "When a token leaves at an exit. ${bundle:policy.descriptions} By default"
              + " max-probability, or full for a model without exits.")
  private Optional<PolicyName> policy;

  @Option(
      names = "--threshold",
      paramLabel = "X",
      description =
          "For ${bundle:policy.with-threshold}: a number, or one for each exit in use, as in"
              + " 2=0.8,4=0.9.")
  private Optional<String> threshold;

  @Option(
      names = "--threshold-decay",
      paramLabel = "X",
      description =
          "For ${bundle:policy.that-decay}: the threshold is 0.1 exp(-X t / max-tokens) + 0.9"
              + " times itself at token t, so that early tokens leave less easily (CALM takes 4).")
  private Optional<Double> decay;

  @Option(
      names = "--calibration",
      paramLabel = "FILE",
      description =
          "Policy, exits and thresholds from a JSON file, in place of --policy and --exits;"
              + " --threshold beside it gives other thresholds. Where no option says when tokens"
              + " leave, the model's own calibration.json if it has one."
              + " docs/exit-policies.md has its form.")
  private Optional<Path> calibration;

  @Option(
      names = "--patience",
      paramLabel = "K",
      description =
          "For the policy patience: exits in a row that agree; "
              + DecodingSettings.PATIENCE
              + " by default.")
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
              + " by default. Changes speed; no text but by rounding.")
  private Optional<Integer> maxPending;

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

  /** Adds what was given to how texts are decoded. */
  void addTo(DecodingSettings.Builder settings) {
    policy.ifPresent(settings::policy);
    threshold.map(ExitOptions::setting).ifPresent(settings::threshold);
    decay.ifPresent(settings::thresholdDecay);
    calibration.map(ExitOptions::read).ifPresent(settings::calibration);
    patience.ifPresent(settings::patience);
    settings.exits(layers);
    maxPending.ifPresent(settings::maxPending);
  }

  private static Calibration read(Path file) {
    try {
      return Calibration.read(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  int maxPending() {
    return maxPending.orElse(Limits.MAX_PENDING);
  }

  private static ThresholdSetting setting(String text) {
    if (!text.contains("=")) {
      return new ThresholdSetting.Same(number(text, text));
    }
    SortedMap<Integer, Double> byLayer = new TreeMap<>();
    for (String pair : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      String layer = pair.substring(0, Math.max(0, equals)).strip();
      if (!layer.matches("[0-9]{1,6}")) {
        throw noNumbers(text);
      }
      byLayer.put(Integer.valueOf(layer), number(pair.substring(equals + 1), text));
    }
    return new ThresholdSetting.PerLayer(byLayer);
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
    throw noNumbers(text);
  }

  private static ConfigException noNumbers(String text) {
    return new ConfigException(
        "--threshold: '%s' is no number or list of them; write 0.9, or 2=0.8,4=0.9"
            .formatted(text));
  }
}
