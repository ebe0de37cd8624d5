package org.eellm.decode.request;

import static java.util.function.Predicate.not;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.exit.ThresholdKind;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;

/**
 * How a text is to be decoded, in the words of options and requests; what was not said is absent.
 * What has no effect beside the rest is refused.
 *
 * @param mode if absent {@link DecodingMode#EARLY_EXIT} where anything of a policy is said, else
 *     {@link DecodingMode#SPECULATIVE}
 * @param policy {@link PolicyName#MAX_PROBABILITY} if absent, or {@link PolicyName#FULL} for a
 *     model without exits
 * @param threshold the policy's {@link PolicyName#defaultThreshold} if absent
 * @param thresholdDecay of {@link Threshold#decaying}
 * @param calibration in place of policy, threshold, patience and exits
 * @param patience exits in a row that agree
 * @param exits layers of the exits to ask, from 1; all if empty
 * @param maxPending of {@link Limits}, to which it belongs: here it is only refused where nothing
 *     waits
 * @param draftSource {@link DraftSource#BOTH} if absent; only where exit and length are chosen
 * @param draftExit layer of the exit that drafts; the shallowest if absent beside one of the other
 *     two. Without all three, exit and length are chosen as the text is written
 * @param draftLength most tokens of a draft, from 1 to {@link DraftLength#MAX_TOKENS}
 * @param draftConfidence a draft ends below this probability; 0 for drafts of fixed length
 */
public record DecodingSettings(
    Optional<DecodingMode> mode,
    Optional<PolicyName> policy,
    Optional<ThresholdSetting> threshold,
    Optional<Double> thresholdDecay,
    Optional<Calibration> calibration,
    Optional<Integer> patience,
    List<Integer> exits,
    Optional<Integer> maxPending,
    Optional<DraftSource> draftSource,
    Optional<Integer> draftExit,
    Optional<Integer> draftLength,
    Optional<Double> draftConfidence) {

  /** Most tokens of a draft by default. */
  public static final int DRAFT_LENGTH = 6;

  /** Where a draft ends by default. */
  public static final double DRAFT_CONFIDENCE = 0.5;

  /** Exits in a row that agree by default. */
  public static final int PATIENCE = 2;

  /** Nothing is said. */
  public static final DecodingSettings NONE = of(Optional.empty(), Optional.empty());

  /** One threshold, or one for each exit in use. */
  public sealed interface ThresholdSetting {

    /** The same everywhere. */
    record Same(double value) implements ThresholdSetting {}

    /** By the exits' layers, from 1. */
    record PerLayer(Map<Integer, Double> byLayer) implements ThresholdSetting {
      public PerLayer {
        byLayer = Map.copyOf(byLayer);
      }
    }
  }

  public DecodingSettings {
    exits = List.copyOf(exits);
  }

  /** A mode, with a calibration or with what it has by default. */
  public static DecodingSettings of(DecodingMode mode, Optional<Calibration> calibration) {
    return of(Optional.of(mode), calibration);
  }

  private static DecodingSettings of(
      Optional<DecodingMode> mode, Optional<Calibration> calibration) {
    return new DecodingSettings(
        mode,
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        calibration,
        Optional.empty(),
        List.of(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty(),
        Optional.empty());
  }

  /**
   * The decoding for a model.
   *
   * @param available layers of the model's exits, ascending
   * @param maxTokens most tokens of the text
   * @param names what users call a setting here, by its name as in {@code threshold-decay}
   * @throws ConfigException if a setting has no effect beside the others, or is not for the model
   */
  public Decoding decoding(List<Integer> available, int maxTokens, UnaryOperator<String> names) {
    try {
      return new Reading(available, maxTokens, names).decoding();
    } catch (SettingException e) {
      throw e.named(names);
    }
  }

  /** The settings with what their meaning depends on. */
  private final class Reading {
    private final List<Integer> available;
    private final int maxTokens;
    private final UnaryOperator<String> names;

    Reading(List<Integer> available, int maxTokens, UnaryOperator<String> names) {
      this.available = available;
      this.maxTokens = maxTokens;
      this.names = names;
    }

    Decoding decoding() {
      DecodingMode chosen = mode.orElseGet(this::byDefault);
      String place = "in the mode " + chosen;
      if (chosen != DecodingMode.SPECULATIVE) {
        refuse(draftSource.isPresent(), "draft-source", place);
        refuse(draftExit.isPresent(), "draft-exit", place);
        refuse(draftLength.isPresent(), "draft-length", place);
        refuse(draftConfidence.isPresent(), "draft-confidence", place);
      }
      if (chosen == DecodingMode.FULL || chosen == DecodingMode.SPECULATIVE) {
        givenOfPolicy().forEach(name -> refuse(true, name, place));
      }
      boolean leaves = chosen != DecodingMode.FULL && chosen != DecodingMode.SPECULATIVE;
      if (leaves && mode.isPresent() && available.isEmpty()) {
        throw new ConfigException(
            "%s: %s needs exits, and this model has none; use full"
                .formatted(names.apply("mode"), chosen));
      }
      return switch (chosen) {
        case FULL -> Decoding.full();
        case EARLY_EXIT -> new Decoding.EarlyExit(exitPolicy());
        case RECOMPUTE -> new Decoding.Recompute(exitPolicy());
        case PROPAGATE -> new Decoding.Propagate(exitPolicy());
        case SPECULATIVE -> drafts();
      };
    }

    private Decoding drafts() {
      if (draftExit.isEmpty() && draftLength.isEmpty() && draftConfidence.isEmpty()) {
        DraftSource source = draftSource.orElse(DraftSource.BOTH);
        if (source == DraftSource.EXITS && available.isEmpty()) {
          throw new ConfigException(
              "%s: this model has no exits; use %s"
                  .formatted(names.apply("draft-source"), DraftSource.TEXT));
        }
        return new Decoding.AdaptiveDrafts(source);
      }
      refuse(draftSource.isPresent(), "draft-source", "where an exit drafts at fixed length");
      return new Decoding.Speculative(draftingLayer(), length());
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
          policy.map(value -> "policy").stream(),
          Stream.concat(
              thresholdDecay.map(value -> "threshold-decay").stream(),
              Stream.concat(
                  calibration.map(value -> "calibration").stream(),
                  Stream.concat(
                      givenBesideCalibration(), maxPending.map(value -> "max-pending").stream()))));
    }

    private Stream<String> givenBesideCalibration() {
      return Stream.of(
              threshold.map(value -> "threshold"),
              patience.map(value -> "patience"),
              exits.isEmpty() ? Optional.<String>empty() : Optional.of("exits"))
          .flatMap(Optional::stream);
    }

    private ExitPolicy exitPolicy() {
      if (calibration.isPresent()) {
        return calibrated(calibration.get());
      }
      PolicyName chosen =
          policy.orElse(available.isEmpty() ? PolicyName.FULL : PolicyName.MAX_PROBABILITY);
      String place =
          "with the policy "
              + chosen
              + (policy.isEmpty() && chosen == PolicyName.FULL
                  ? ", which a model without exits has"
                  : "");
      boolean decays = chosen == PolicyName.MAX_PROBABILITY || chosen == PolicyName.MARGIN;
      refuse(threshold.isPresent() && chosen.kind().isEmpty(), "threshold", place);
      refuse(thresholdDecay.isPresent() && !decays, "threshold-decay", place);
      refuse(patience.isPresent() && chosen != PolicyName.PATIENCE, "patience", place);
      refuse(!exits.isEmpty() && chosen == PolicyName.FULL, "exits", place);
      boolean nothingWaits = chosen == PolicyName.FIXED || chosen == PolicyName.FULL;
      refuse(maxPending.isPresent() && nothingWaits, "max-pending", place);
      if (chosen != PolicyName.FULL && available.isEmpty()) {
        throw new ConfigException(
            "%s: %s needs exits, and this model has none; use full"
                .formatted(names.apply("policy"), chosen));
      }
      exits.forEach(layer -> requireExit("exits", layer));
      List<Integer> used = exits.isEmpty() ? available : exits;
      return switch (chosen) {
        case MAX_PROBABILITY, MARGIN, ENTROPY ->
            ExitPolicies.among(
                used, chosen.kind().orElseThrow().policy(decaying(threshold(chosen, used))));
        case PATIENCE -> ExitPolicies.among(used, ExitPolicies.patience(patience.orElse(PATIENCE)));
        case FIXED -> ExitPolicies.fixed(only(used));
        case FULL -> ExitPolicies.full();
      };
    }

    private ExitPolicy calibrated(Calibration read) {
      Stream.concat(policy.map(value -> "policy").stream(), givenBesideCalibration())
          .findFirst()
          .ifPresent(
              name -> {
                throw new ConfigException(
                    "%s has no effect with %s, whose file says it; leave it out"
                        .formatted(names.apply(name), names.apply("calibration")));
              });
      refuse(
          thresholdDecay.isPresent() && read.kind() == ThresholdKind.ENTROPY,
          "threshold-decay",
          "with the policy entropy");
      read.thresholds().keySet().forEach(layer -> requireExit("calibration", layer));
      return read.policy(this::decaying);
    }

    private Threshold threshold(PolicyName chosen, List<Integer> used) {
      return switch (threshold.orElse(new ThresholdSetting.Same(chosen.defaultThreshold()))) {
        case ThresholdSetting.Same(double value) -> {
          requireValidThreshold(value);
          yield Threshold.of(value);
        }
        case ThresholdSetting.PerLayer(Map<Integer, Double> byLayer) -> {
          requireOneForEach(used, new TreeMap<>(byLayer));
          byLayer.values().forEach(this::requireValidThreshold);
          yield Threshold.perLayer(byLayer);
        }
      };
    }

    private void requireValidThreshold(double value) {
      if (!(value >= 0 && Double.isFinite(value))) {
        throw new ConfigException(
            "%s: %s is no threshold; use 0 or more".formatted(names.apply("threshold"), value));
      }
    }

    private void requireOneForEach(List<Integer> used, TreeMap<Integer, Double> byLayer) {
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
      return thresholdDecay.map(value -> Threshold.decaying(base, value, maxTokens)).orElse(base);
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
      int layer = draftExit.orElse(available.isEmpty() ? 1 : available.getFirst());
      requireExit("draft-exit", layer);
      return layer;
    }

    private DraftLength length() {
      int most = draftLength.orElse(DRAFT_LENGTH);
      double confidence = draftConfidence.orElse(DRAFT_CONFIDENCE);
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
  }

  private static String listed(List<Integer> layers) {
    return layers.stream().map(layer -> "layer " + layer).collect(Collectors.joining(", "));
  }
}
