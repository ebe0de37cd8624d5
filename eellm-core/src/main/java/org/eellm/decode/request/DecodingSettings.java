package org.eellm.decode.request;

import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.exit.ThresholdRule;
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
 * @param threshold the policy's {@link ThresholdRule#defaultThreshold} if absent
 * @param thresholdDecay of {@link Threshold#decaying}
 * @param calibration in place of policy, patience and exits; a threshold beside it takes the place
 *     of the calibration's
 * @param patience exits in a row that agree
 * @param exits layers of the exits to ask, from 1; all if empty
 * @param maxPending of {@link Limits}, to which it belongs: here it is only refused where nothing
 *     waits
 * @param draftSource {@link DraftSource#BOTH} if absent; only where exit and length are chosen
 * @param draftExit layer of the exit that drafts; the shallowest if absent beside one of the other
 *     two. Without all three, exit and length are chosen as the text is written
 * @param draftLength most tokens of a draft, from 1 to {@link DraftLength#MAX_TOKENS}
 * @param draftConfidence a draft ends where the exit's lead is below this; 0 for drafts of fixed
 *     length
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
  public static final DecodingSettings NONE = builder().build();

  /** One threshold, or one for each exit in use. */
  public sealed interface ThresholdSetting {

    /** The same everywhere. */
    record Same(double value) implements ThresholdSetting {}

    /** By the exits' layers, from 1. */
    record PerLayer(SortedMap<Integer, Double> byLayer) implements ThresholdSetting {
      public PerLayer {
        byLayer = Collections.unmodifiableSortedMap(new TreeMap<>(byLayer));
      }
    }
  }

  public DecodingSettings {
    exits = List.copyOf(exits);
  }

  /** Says nothing yet. */
  public static Builder builder() {
    return new Builder();
  }

  /** A mode, with what it has by default. */
  public static DecodingSettings of(DecodingMode mode) {
    return builder().mode(mode).build();
  }

  /**
   * The same by a calibration where tokens leave early, and neither policy nor threshold say when.
   */
  public DecodingSettings orCalibrated(Calibration own) {
    boolean early =
        mode.map(DecodingMode::leavesEarly)
            .orElse(thresholdDecay.isPresent() || maxPending.isPresent());
    if (!early
        || policy.isPresent()
        || threshold.isPresent()
        || calibration.isPresent()
        || patience.isPresent()
        || !exits.isEmpty()) {
      return this;
    }
    return new DecodingSettings(
        mode,
        policy,
        threshold,
        thresholdDecay,
        Optional.of(own),
        patience,
        exits,
        maxPending,
        draftSource,
        draftExit,
        draftLength,
        draftConfidence);
  }

  /**
   * The decoding for a model.
   *
   * @param available layers of the model's exits, ascending
   * @param maxTokens most tokens of the text
   * @param names what users call a setting here, by its name as in {@code threshold-decay}
   * @throws ConfigException if a setting has no effect beside the others, or is not for the model
   */
  public DecodingMethod decoding(
      List<Integer> available, int maxTokens, UnaryOperator<String> names) {
    try {
      return new DecodingResolver(this, available, maxTokens, names).decoding();
    } catch (SettingException e) {
      throw e.named(names);
    }
  }

  /**
   * The settings as a text that is the same from one version to the next: files of results have it,
   * and go on only with the same.
   */
  public String fingerprint() {
    return "DecodingSettings[mode=%s, policy=%s, threshold=%s, thresholdDecay=%s, calibration=%s, patience=%s, exits=%s, maxPending=%s, draftSource=%s, draftExit=%s, draftLength=%s, draftConfidence=%s]"
        .formatted(
            mode,
            policy,
            threshold.map(DecodingSettings::fingerprint),
            thresholdDecay,
            calibration.map(DecodingSettings::fingerprint),
            patience,
            exits,
            maxPending,
            draftSource,
            draftExit,
            draftLength,
            draftConfidence);
  }

  private static String fingerprint(ThresholdSetting threshold) {
    return switch (threshold) {
      case ThresholdSetting.Same(double value) -> "Same[value=" + value + "]";
      case ThresholdSetting.PerLayer(SortedMap<Integer, Double> byLayer) ->
          "PerLayer[byLayer=" + byLayer + "]";
    };
  }

  private static String fingerprint(Calibration calibration) {
    return switch (calibration.rule()) {
      case Calibration.OfPolicy(PolicyName name, SortedMap<Integer, Double> temperatures) ->
          "Calibration[kind=%s, thresholds=%s, temperatures=%s]"
              .formatted(name, calibration.thresholds(), temperatures);
      case Calibration.OfGates(SortedMap<Integer, Gate> gates) ->
          "Calibration[thresholds=%s, gates=%s]".formatted(calibration.thresholds(), gates);
    };
  }

  /** Takes the settings that are said. */
  public static final class Builder {
    private Optional<DecodingMode> mode = Optional.empty();
    private Optional<PolicyName> policy = Optional.empty();
    private Optional<ThresholdSetting> threshold = Optional.empty();
    private Optional<Double> thresholdDecay = Optional.empty();
    private Optional<Calibration> calibration = Optional.empty();
    private Optional<Integer> patience = Optional.empty();
    private List<Integer> exits = List.of();
    private Optional<Integer> maxPending = Optional.empty();
    private Optional<DraftSource> draftSource = Optional.empty();
    private Optional<Integer> draftExit = Optional.empty();
    private Optional<Integer> draftLength = Optional.empty();
    private Optional<Double> draftConfidence = Optional.empty();

    private Builder() {}

    public Builder mode(DecodingMode value) {
      mode = Optional.of(value);
      return this;
    }

    public Builder policy(PolicyName value) {
      policy = Optional.of(value);
      return this;
    }

    public Builder threshold(ThresholdSetting value) {
      threshold = Optional.of(value);
      return this;
    }

    public Builder thresholdDecay(double value) {
      thresholdDecay = Optional.of(value);
      return this;
    }

    public Builder calibration(Calibration value) {
      calibration = Optional.of(value);
      return this;
    }

    public Builder patience(int value) {
      patience = Optional.of(value);
      return this;
    }

    public Builder exits(List<Integer> layers) {
      exits = layers;
      return this;
    }

    public Builder maxPending(int value) {
      maxPending = Optional.of(value);
      return this;
    }

    public Builder draftSource(DraftSource value) {
      draftSource = Optional.of(value);
      return this;
    }

    public Builder draftExit(int value) {
      draftExit = Optional.of(value);
      return this;
    }

    public Builder draftLength(int value) {
      draftLength = Optional.of(value);
      return this;
    }

    public Builder draftConfidence(double value) {
      draftConfidence = Optional.of(value);
      return this;
    }

    public DecodingSettings build() {
      return new DecodingSettings(
          mode,
          policy,
          threshold,
          thresholdDecay,
          calibration,
          patience,
          exits,
          maxPending,
          draftSource,
          draftExit,
          draftLength,
          draftConfidence);
    }
  }
}
