package org.eellm.eval.sweep;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.speculate.DraftSource;

/**
 * A way to decode that a sweep tries; what has no part in it is absent.
 *
 * @param policy when tokens leave
 * @param threshold of the policy
 * @param calibration file in place of the policy; the threshold takes the place of the file's
 * @param patience of the policy
 * @param exits layers of the exits to ask, from 1; all if empty
 * @param draftSource of drafts that adapt, where it is not both
 * @param draftExit layer of the exit that drafts
 * @param draftLength most tokens of a draft
 * @param draftConfidence a draft ends where the exit's lead is below this; 0 for drafts of fixed
 *     length
 */
@JsonInclude(JsonInclude.Include.NON_EMPTY)
public record SweepSetting(
    DecodingMode mode,
    Optional<PolicyName> policy,
    Optional<Double> threshold,
    Optional<String> calibration,
    Optional<Integer> patience,
    List<Integer> exits,
    Optional<DraftSource> draftSource,
    Optional<Integer> draftExit,
    Optional<Integer> draftLength,
    Optional<Double> draftConfidence) {

  public SweepSetting {
    exits = exits == null ? List.of() : List.copyOf(exits); // left out of JSON where empty
  }

  /** Early exits at a threshold on the largest probability. */
  public static SweepSetting atThreshold(double threshold) {
    return atThreshold(DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, threshold, List.of());
  }

  static SweepSetting atThreshold(
      DecodingMode mode, PolicyName policy, double threshold, List<Integer> exits) {
    return of(
        DecodingSettings.builder()
            .mode(mode)
            .policy(policy)
            .threshold(new ThresholdSetting.Same(threshold))
            .exits(exits));
  }

  /**
   * What a calibration compares, such as its gates' confidence, beside another threshold.
   *
   * @param file of the calibration
   */
  public static SweepSetting calibrated(DecodingMode mode, String file, double threshold) {
    return of(DecodingSettings.builder().mode(mode).threshold(new ThresholdSetting.Same(threshold)))
        .calibrated(file);
  }

  /**
   * A calibration with its own thresholds.
   *
   * @param file of the calibration
   */
  public static SweepSetting calibrated(DecodingMode mode, String file) {
    return of(DecodingSettings.builder().mode(mode)).calibrated(file);
  }

  private SweepSetting calibrated(String file) {
    return new SweepSetting(
        mode,
        policy,
        threshold,
        Optional.of(file),
        patience,
        exits,
        draftSource,
        draftExit,
        draftLength,
        draftConfidence);
  }

  static SweepSetting patient(
      DecodingMode mode, PolicyName policy, int patience, List<Integer> exits) {
    return of(DecodingSettings.builder().mode(mode).policy(policy).patience(patience).exits(exits));
  }

  /** A policy that has no number: its exits alone tell it from others. */
  static SweepSetting ofExits(DecodingMode mode, PolicyName policy, List<Integer> exits) {
    return of(DecodingSettings.builder().mode(mode).policy(policy).exits(exits));
  }

  /** Drafts whose exit and length adapt: the full model's text. */
  public static SweepSetting adaptiveDrafts() {
    return of(DecodingSettings.builder().mode(DecodingMode.SPECULATIVE));
  }

  /** The same where the text alone drafts. */
  static SweepSetting textDrafts() {
    return of(
        DecodingSettings.builder().mode(DecodingMode.SPECULATIVE).draftSource(DraftSource.TEXT));
  }

  static SweepSetting speculative(int exit, int length, double confidence) {
    return of(
        DecodingSettings.builder()
            .mode(DecodingMode.SPECULATIVE)
            .draftExit(exit)
            .draftLength(length)
            .draftConfidence(confidence));
  }

  private static SweepSetting of(DecodingSettings.Builder builder) {
    DecodingSettings settings = builder.build();
    return new SweepSetting(
        settings.mode().orElseThrow(),
        settings.policy(),
        settings.threshold().map(threshold -> ((ThresholdSetting.Same) threshold).value()),
        Optional.empty(),
        settings.patience(),
        settings.exits(),
        settings.draftSource(),
        settings.draftExit(),
        settings.draftLength(),
        settings.draftConfidence());
  }

  /** The same in the words of options and requests; reads the calibration's file. */
  DecodingSettings decoding() {
    DecodingSettings.Builder settings = DecodingSettings.builder().mode(mode).exits(exits);
    policy.ifPresent(settings::policy);
    threshold.map(ThresholdSetting.Same::new).ifPresent(settings::threshold);
    calibration.map(SweepSetting::read).ifPresent(settings::calibration);
    patience.ifPresent(settings::patience);
    draftSource.ifPresent(settings::draftSource);
    draftExit.ifPresent(settings::draftExit);
    draftLength.ifPresent(settings::draftLength);
    draftConfidence.ifPresent(settings::draftConfidence);
    return settings.build();
  }

  private static Calibration read(String file) {
    try {
      return Calibration.read(Path.of(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** The options of {@code eellm generate} that do this. */
  public String options() {
    List<String> words = new ArrayList<>();
    words.add("--mode " + mode);
    policy.ifPresent(value -> words.add("--policy " + value));
    calibration.ifPresent(file -> words.add("--calibration " + file));
    threshold.ifPresent(value -> words.add("--threshold " + number(value)));
    patience.ifPresent(value -> words.add("--patience " + value));
    if (!exits.isEmpty()) {
      words.add("--exits " + listed(","));
    }
    draftSource.ifPresent(value -> words.add("--draft-source " + value));
    draftExit.ifPresent(value -> words.add("--draft-exit " + value));
    draftLength.ifPresent(value -> words.add("--draft-length " + value));
    draftConfidence.ifPresent(value -> words.add("--draft-confidence " + number(value)));
    return String.join(" ", words);
  }

  /** A name for files. */
  String name() {
    return options().replaceAll("[^\\w.]+", "-").substring(1);
  }

  /** What tables call it: {@code lossless}, {@code threshold 0.9}, {@code gate 0.95}. */
  public String label() {
    String family = family();
    String numbers = numbers();
    return numbers.isEmpty() ? family : family + (family.contains(",") ? ": " : " ") + numbers;
  }

  /**
   * What settings that differ in a number only have in common; the mode where it is neither drafts
   * nor early exits.
   */
  String family() {
    List<String> words = new ArrayList<>();
    switch (mode) {
      case SPECULATIVE -> words.add("lossless");
      case EARLY_EXIT -> {}
      case FULL, RECOMPUTE, PROPAGATE -> words.add(mode.toString());
    }
    policy.ifPresent(
        value -> words.add(value == PolicyName.MAX_PROBABILITY ? "threshold" : value.toString()));
    calibration.ifPresent(
        file ->
            words.add(
                switch (read(file).rule()) {
                  case Calibration.OfGates gates -> gates.name();
                  case Calibration.OfPolicy rule -> "calibrated " + rule.name();
                }));
    if (!exits.isEmpty() && !isOfExits()) {
      words.add("exits " + listed(", "));
    }
    draftExit.ifPresent(value -> words.add("exit " + value));
    return String.join(", ", words);
  }

  /** Its numbers, which tell it from others of its family; none where drafts adapt. */
  String numbers() {
    List<String> words = new ArrayList<>();
    if (isOfExits()) {
      words.add(exits.isEmpty() ? "all exits" : "exit " + listed(", "));
    }
    threshold.ifPresent(value -> words.add(number(value)));
    patience.ifPresent(value -> words.add(value + " agree"));
    draftLength.ifPresent(value -> words.add(value + " tokens"));
    draftConfidence.ifPresent(value -> words.add(number(value)));
    draftSource.ifPresent(source -> words.add("drafts of " + source));
    return String.join(", ", words);
  }

  private boolean isOfExits() {
    return policy.isPresent() && threshold.isEmpty() && patience.isEmpty();
  }

  private String listed(String delimiter) {
    return exits.stream().map(String::valueOf).collect(Collectors.joining(delimiter));
  }

  /** With as many places as it has, and at least one. */
  private static String number(double value) {
    BigDecimal exact = BigDecimal.valueOf(value).stripTrailingZeros();
    return exact.setScale(Math.max(1, exact.scale())).toPlainString();
  }
}
