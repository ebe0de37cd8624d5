package org.eellm.decode.request;

import static java.util.function.Predicate.not;
import static org.eellm.decode.request.DecodingMode.SPECULATIVE;
import static org.eellm.decode.request.DecodingSetting.CALIBRATION;
import static org.eellm.decode.request.DecodingSetting.DRAFT_EXIT;
import static org.eellm.decode.request.DecodingSetting.DRAFT_LENGTH;
import static org.eellm.decode.request.DecodingSetting.DRAFT_MARGIN;
import static org.eellm.decode.request.DecodingSetting.DRAFT_MEMORY;
import static org.eellm.decode.request.DecodingSetting.DRAFT_RESUME;
import static org.eellm.decode.request.DecodingSetting.DRAFT_SOURCE;
import static org.eellm.decode.request.DecodingSetting.EXITS;
import static org.eellm.decode.request.DecodingSetting.MODE;
import static org.eellm.decode.request.DecodingSetting.POLICY;
import static org.eellm.decode.request.DecodingSetting.THRESHOLD;
import static org.eellm.decode.request.DecodingSetting.THRESHOLD_DECAY;

import java.util.Collections;
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

/** Resolves settings to a model's decoding; refuses one that has no effect beside the others. */
record DecodingResolver(
    DecodingSettings settings,
    List<Integer> available,
    int maxTokens,
    UnaryOperator<String> names) {
  DecodingMethod decoding() {
    DecodingMode chosen = settings.get(MODE).orElseGet(this::byDefault);
    String place = "in the mode " + chosen;
    settings
        .settings()
        .filter(setting -> setting != MODE)
        .filter(setting -> !(setting == EXITS && chosen == SPECULATIVE))
        .filter(setting -> ofEarlyExits(setting) ? !chosen.leavesEarly() : chosen != SPECULATIVE)
        .forEach(setting -> refuse(true, setting, place));
    if (chosen.leavesEarly() && settings.get(MODE).isPresent() && available.isEmpty()) {
      throw new ConfigException(
          "%s: %s needs exits, and this model has none; use full"
              .formatted(names.apply(MODE.name()), chosen));
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
    if (Stream.of(DRAFT_EXIT, DRAFT_RESUME, DRAFT_LENGTH, DRAFT_MARGIN, EXITS)
        .noneMatch(setting -> settings.get(setting).isPresent())) {
      DraftSource source = settings.orUsual(DRAFT_SOURCE);
      if (source == DraftSource.EXITS && available.isEmpty()) {
        throw new ConfigException(
            "%s: this model has no exits; use %s"
                .formatted(names.apply(DRAFT_SOURCE.name()), DraftSource.TEXT));
      }
      return new DecodingMethod.AdaptiveDrafts(source, settings.orUsual(DRAFT_MEMORY));
    }
    boolean byExits =
        Stream.of(DRAFT_EXIT, DRAFT_RESUME, EXITS).anyMatch(set -> settings.get(set).isPresent());
    DraftSource source = settings.orUsual(DRAFT_SOURCE);
    if (!byExits && !source.hasExits()) {
      return new DecodingMethod.FixedDrafts(source, settings.orUsual(DRAFT_MEMORY), length());
    }
    for (DecodingSetting<?> adaptive : List.of(DRAFT_SOURCE, DRAFT_MEMORY)) {
      refuse(settings.get(adaptive).isPresent(), adaptive, "where an exit drafts at fixed length");
    }
    return new DecodingMethod.Speculative(
        draftingLayers(), length(), filter(), settings.get(DRAFT_RESUME).orElse(0));
  }

  /** The mode where none is set: early exit if one of its settings is there, else speculative. */
  private DecodingMode byDefault() {
    return settings.settings().anyMatch(DecodingResolver::ofEarlyExits)
        ? DecodingMode.EARLY_EXIT
        : SPECULATIVE;
  }

  private static boolean ofEarlyExits(DecodingSetting<?> setting) {
    return switch (setting.part()) {
      case POLICY, THRESHOLD, PENDING -> true;
      case MODE, DRAFTS -> false;
    };
  }

  private ExitPolicy exitPolicy() {
    Optional<Calibration> calibration = settings.get(CALIBRATION);
    if (calibration.isPresent()) {
      return calibrated(calibration.get());
    }
    PolicyName chosen =
        settings
            .get(POLICY)
            .orElse(available.isEmpty() ? PolicyName.FULL : PolicyName.MAX_PROBABILITY);
    String place =
        "with the policy "
            + chosen
            + (settings.get(POLICY).isEmpty() && chosen == PolicyName.FULL
                ? ", which a model without exits has"
                : "");
    PolicyRule rule = chosen.rule();
    settings
        .settings()
        .filter(setting -> setting != MODE && setting != POLICY)
        .forEach(setting -> refuse(!rule.settings().contains(setting.name()), setting, place));
    if (rule.settings().contains("exits") && available.isEmpty()) {
      throw new ConfigException(
          "%s: %s needs exits, and this model has none; use full"
              .formatted(names.apply(POLICY.name()), chosen));
    }
    settings.exits().forEach(layer -> requireExit(EXITS, layer));
    List<Integer> used = settings.exits().isEmpty() ? available : settings.exits();
    return switch (rule) {
      case ThresholdRule compared ->
          ExitPolicies.among(used, compared.policy(decaying(threshold(compared, used))));
      case PolicyRule.Counted counted ->
          ExitPolicies.among(
              used, counted.policy().apply(settings.orUsual(DecodingSetting.of(counted))));
      case PolicyRule.Other.ONE_EXIT -> ExitPolicies.fixed(only(used));
      case PolicyRule.Other.NO_EXIT -> ExitPolicies.full();
    };
  }

  private ExitPolicy calibrated(Calibration read) {
    settings
        .settings()
        .filter(setting -> setting.part() == DecodingSetting.Part.POLICY)
        .findFirst()
        .ifPresent(
            setting -> {
              throw new ConfigException(
                  "%s has no effect with %s, whose file says it; leave it out"
                      .formatted(names.apply(setting.name()), names.apply(CALIBRATION.name())));
            });
    refuse(
        settings.get(THRESHOLD_DECAY).isPresent() && !read.rule().thresholdRule().isConfidence(),
        THRESHOLD_DECAY,
        "with the policy " + read.rule().name());
    read.thresholds().keySet().forEach(layer -> requireExit(CALIBRATION, layer));
    List<Integer> used = List.copyOf(read.thresholds().keySet());
    Threshold threshold =
        settings.get(THRESHOLD).isPresent()
            ? threshold(read.rule().thresholdRule(), used)
            : Threshold.perLayer(read.thresholds());
    return read.policy(decaying(threshold));
  }

  private Threshold threshold(ThresholdRule rule, List<Integer> used) {
    return switch (settings
        .get(THRESHOLD)
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
          "%s: %s is no threshold; use 0 or more"
              .formatted(names.apply(THRESHOLD.name()), threshold));
    }
  }

  private void requireOneForEach(List<Integer> used, SortedMap<Integer, Double> byLayer) {
    for (int layer : byLayer.keySet()) {
      if (!used.contains(layer)) {
        throw new ConfigException(
            "%s: layer %d has no exit in use; give a threshold for each of %s"
                .formatted(names.apply(THRESHOLD.name()), layer, listed(used)));
      }
    }
    List<Integer> without = used.stream().filter(not(byLayer::containsKey)).toList();
    if (!without.isEmpty()) {
      throw new ConfigException(
          "%s: none for the exits after %s; give a threshold for each of %s"
              .formatted(names.apply(THRESHOLD.name()), listed(without), listed(used)));
    }
  }

  private Threshold decaying(Threshold base) {
    return settings
        .get(THRESHOLD_DECAY)
        .map(value -> Threshold.decaying(base, value, maxTokens))
        .orElse(base);
  }

  private int only(List<Integer> used) {
    if (used.size() != 1) {
      throw new ConfigException(
          "%s: fixed needs one exit; name it with %s, one of %s"
              .formatted(names.apply(POLICY.name()), names.apply(EXITS.name()), listed(used)));
    }
    return used.getFirst();
  }

  private List<Integer> draftingLayers() {
    refuse(
        !settings.exits().isEmpty() && settings.get(DRAFT_RESUME).isPresent(),
        DRAFT_RESUME,
        "where several exits draft");
    settings.exits().forEach(layer -> requireExit(EXITS, layer));
    if (!settings.exits().isEmpty() && settings.get(DRAFT_EXIT).isEmpty()) {
      return settings.exits();
    }
    int layer = settings.get(DRAFT_EXIT).orElse(available.isEmpty() ? 1 : available.getFirst());
    requireExit(DRAFT_EXIT, layer);
    return List.of(layer);
  }

  /** The exit that drafts pass first, where one drafts and another is named beside it; or 0. */
  private int filter() {
    List<Integer> exits = settings.exits();
    Optional<Integer> drafter = settings.get(DRAFT_EXIT);
    if (exits.isEmpty() || drafter.isEmpty()) {
      return 0;
    }
    refuse(
        exits.size() != 2 || !Collections.min(exits).equals(drafter.get()),
        DRAFT_EXIT,
        "where several exits draft, unless it is the first of two");
    return Collections.max(exits);
  }

  private DraftLength length() {
    int most = settings.orUsual(DRAFT_LENGTH);
    double margin = settings.orUsual(DRAFT_MARGIN);
    return margin == 0 ? new DraftLength.Fixed(most) : new DraftLength.Adaptive(most, margin);
  }

  private void requireExit(DecodingSetting<?> setting, int layer) {
    if (!available.contains(layer)) {
      throw new ConfigException(
          "%s: there is no exit after layer %d; %s"
              .formatted(
                  names.apply(setting.name()),
                  layer,
                  available.isEmpty()
                      ? "this model has none at all, use full"
                      : "this model has exits after " + listed(available)));
    }
  }

  private void refuse(boolean condition, DecodingSetting<?> setting, String place) {
    if (condition) {
      throw new ConfigException(
          "%s has no effect %s; leave it out".formatted(names.apply(setting.name()), place));
    }
  }

  private static String listed(List<Integer> layers) {
    return layers.stream().map(layer -> "layer " + layer).collect(Collectors.joining(", "));
  }
}
