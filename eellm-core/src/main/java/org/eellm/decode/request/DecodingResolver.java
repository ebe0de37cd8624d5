package org.eellm.decode.request;

import static java.util.function.Predicate.not;

import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.PolicyRule;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.exit.ThresholdRule;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;

/** What settings come to for a model. What has no effect beside the rest is refused. */
final class DecodingResolver {
  private final DecodingSettings settings;
  private final List<Integer> available;
  private final int maxTokens;
  private final UnaryOperator<String> names;

  DecodingResolver(
      DecodingSettings settings,
      List<Integer> available,
      int maxTokens,
      UnaryOperator<String> names) {
    this.settings = settings;
    this.available = available;
    this.maxTokens = maxTokens;
    this.names = names;
  }

  DecodingMethod decoding() {
    DecodingMode chosen = settings.mode().orElseGet(this::byDefault);
    String place = "in the mode " + chosen;
    if (chosen != DecodingMode.SPECULATIVE) {
      refuse(settings.draftSource().isPresent(), "draft-source", place);
      refuse(settings.draftExit().isPresent(), "draft-exit", place);
      refuse(settings.draftLength().isPresent(), "draft-length", place);
      refuse(settings.draftConfidence().isPresent(), "draft-confidence", place);
    }
    if (!chosen.leavesEarly()) {
      givenOfPolicy().forEach(name -> refuse(true, name, place));
    }
    if (chosen.leavesEarly() && settings.mode().isPresent() && available.isEmpty()) {
      throw new ConfigException(
          "%s: %s needs exits, and this model has none; use full"
              .formatted(names.apply("mode"), chosen));
    }
    return switch (chosen) {
      case FULL -> DecodingMethod.full();
      case EARLY_EXIT -> new DecodingMethod.EarlyExit(exitPolicy());
      case RECOMPUTE -> new DecodingMethod.Recompute(exitPolicy());
      case PROPAGATE -> new DecodingMethod.Propagate(exitPolicy());
      case SPECULATIVE -> drafts();
    };
  }

  private DecodingMethod drafts() {
    if (settings.draftExit().isEmpty()
        && settings.draftLength().isEmpty()
        && settings.draftConfidence().isEmpty()) {
      DraftSource source = settings.draftSource().orElse(DraftSource.BOTH);
      if (source == DraftSource.EXITS && available.isEmpty()) {
        throw new ConfigException(
            "%s: this model has no exits; use %s"
                .formatted(names.apply("draft-source"), DraftSource.TEXT));
      }
      return new DecodingMethod.AdaptiveDrafts(source);
    }
    refuse(
        settings.draftSource().isPresent(), "draft-source", "where an exit drafts at fixed length");
    return new DecodingMethod.Speculative(draftingLayer(), length());
  }

  /** What loses nothing and gains most, unless more is said. */
  private DecodingMode byDefault() {
    if (givenOfPolicy().findAny().isPresent()) {
      return DecodingMode.EARLY_EXIT;
    }
    return DecodingMode.SPECULATIVE;
  }

  private Stream<String> givenOfPolicy() {
    return Stream.concat(
        settings.policy().map(value -> "policy").stream(),
        Stream.concat(
            settings.thresholdDecay().map(value -> "threshold-decay").stream(),
            Stream.concat(
                settings.calibration().map(value -> "calibration").stream(),
                Stream.concat(
                    givenBesideCalibration(),
                    settings.maxPending().map(value -> "max-pending").stream()))));
  }

  private Stream<String> givenBesideCalibration() {
    return Stream.of(
            settings.threshold().map(value -> "threshold"),
            settings.patience().map(value -> "patience"),
            settings.exits().isEmpty() ? Optional.<String>empty() : Optional.of("exits"))
        .flatMap(Optional::stream);
  }

  private ExitPolicy exitPolicy() {
    if (settings.calibration().isPresent()) {
      return calibrated(settings.calibration().get());
    }
    PolicyName chosen =
        settings
            .policy()
            .orElse(available.isEmpty() ? PolicyName.FULL : PolicyName.MAX_PROBABILITY);
    String place =
        "with the policy "
            + chosen
            + (settings.policy().isEmpty() && chosen == PolicyName.FULL
                ? ", which a model without exits has"
                : "");
    PolicyRule rule = chosen.rule();
    givenOfPolicy()
        .filter(name -> !name.equals("policy"))
        .forEach(name -> refuse(!rule.settings().contains(name), name, place));
    if (rule.settings().contains("exits") && available.isEmpty()) {
      throw new ConfigException(
          "%s: %s needs exits, and this model has none; use full"
              .formatted(names.apply("policy"), chosen));
    }
    settings.exits().forEach(layer -> requireExit("exits", layer));
    List<Integer> used = settings.exits().isEmpty() ? available : settings.exits();
    return switch (rule) {
      case ThresholdRule compared ->
          ExitPolicies.among(used, compared.policy(decaying(threshold(compared, used))));
      case PolicyRule.Other.PATIENCE ->
          ExitPolicies.among(
              used, ExitPolicies.patience(settings.patience().orElse(DecodingSettings.PATIENCE)));
      case PolicyRule.Other.ONE_EXIT -> ExitPolicies.fixed(only(used));
      case PolicyRule.Other.NO_EXIT -> ExitPolicies.full();
    };
  }

  private ExitPolicy calibrated(Calibration read) {
    Stream.concat(
            settings.policy().map(value -> "policy").stream(),
            givenBesideCalibration().filter(name -> !name.equals("threshold")))
        .findFirst()
        .ifPresent(
            name -> {
              throw new ConfigException(
                  "%s has no effect with %s, whose file says it; leave it out"
                      .formatted(names.apply(name), names.apply("calibration")));
            });
    refuse(
        settings.thresholdDecay().isPresent() && !read.rule().thresholdRule().isConfidence(),
        "threshold-decay",
        "with the policy " + read.rule().name());
    read.thresholds().keySet().forEach(layer -> requireExit("calibration", layer));
    List<Integer> used = List.copyOf(read.thresholds().keySet());
    Threshold threshold =
        settings.threshold().isPresent()
            ? threshold(read.rule().thresholdRule(), used)
            : Threshold.perLayer(read.thresholds());
    return read.policy(decaying(threshold));
  }

  private Threshold threshold(ThresholdRule rule, List<Integer> used) {
    return switch (settings
        .threshold()
        .orElse(new DecodingSettings.ThresholdSetting.Same(rule.defaultThreshold()))) {
      case DecodingSettings.ThresholdSetting.Same(double value) -> {
        requireThreshold(value);
        yield Threshold.of(value);
      }
      case DecodingSettings.ThresholdSetting.PerLayer(SortedMap<Integer, Double> byLayer) -> {
        requireOneForEach(used, byLayer);
        byLayer.values().forEach(this::requireThreshold);
        yield Threshold.perLayer(byLayer);
      }
    };
  }

  private void requireThreshold(double threshold) {
    if (!(threshold >= 0 && Double.isFinite(threshold))) {
      throw new ConfigException(
          "%s: %s is no threshold; use 0 or more".formatted(names.apply("threshold"), threshold));
    }
  }

  private void requireOneForEach(List<Integer> used, SortedMap<Integer, Double> byLayer) {
    for (int layer : byLayer.keySet()) {
      if (!used.contains(layer)) {
        throw new ConfigException(
            "%s: layer %d has no exit in use; give a threshold for each of %s"
                .formatted(names.apply("threshold"), layer, listed(used)));
      }
    }
    List<Integer> without = used.stream().filter(not(byLayer::containsKey)).toList();
    if (!without.isEmpty()) {
      throw new ConfigException(
          "%s: none for the exits after %s; give a threshold for each of %s"
              .formatted(names.apply("threshold"), listed(without), listed(used)));
    }
  }

  private Threshold decaying(Threshold base) {
    return settings
        .thresholdDecay()
        .map(value -> Threshold.decaying(base, value, maxTokens))
        .orElse(base);
  }

  private int only(List<Integer> used) {
    if (used.size() != 1) {
      throw new ConfigException(
          "%s: fixed needs one exit; name it with %s, one of %s"
              .formatted(names.apply("policy"), names.apply("exits"), listed(used)));
    }
    return used.getFirst();
  }

  private int draftingLayer() {
    int layer = settings.draftExit().orElse(available.isEmpty() ? 1 : available.getFirst());
    requireExit("draft-exit", layer);
    return layer;
  }

  private DraftLength length() {
    int most = settings.draftLength().orElse(DecodingSettings.DRAFT_LENGTH);
    double confidence = settings.draftConfidence().orElse(DecodingSettings.DRAFT_CONFIDENCE);
    return confidence == 0
        ? new DraftLength.Fixed(most)
        : new DraftLength.Adaptive(most, confidence);
  }

  private void requireExit(String name, int layer) {
    if (!available.contains(layer)) {
      throw new ConfigException(
          "%s: there is no exit after layer %d; %s"
              .formatted(
                  names.apply(name),
                  layer,
                  available.isEmpty()
                      ? "this model has none at all, use full"
                      : "this model has exits after " + listed(available)));
    }
  }

  private void refuse(boolean condition, String name, String place) {
    if (condition) {
      throw new ConfigException(
          "%s has no effect %s; leave it out".formatted(names.apply(name), place));
    }
  }

  private static String listed(List<Integer> layers) {
    return layers.stream().map(layer -> "layer " + layer).collect(Collectors.joining(", "));
  }
}
