package org.eellm.eval.sweep;

import static org.eellm.decode.request.DecodingSetting.CALIBRATION;
import static org.eellm.decode.request.DecodingSetting.DRAFT_EXIT;
import static org.eellm.decode.request.DecodingSetting.DRAFT_LENGTH;
import static org.eellm.decode.request.DecodingSetting.DRAFT_MARGIN;
import static org.eellm.decode.request.DecodingSetting.DRAFT_SOURCE;
import static org.eellm.decode.request.DecodingSetting.EXITS;
import static org.eellm.decode.request.DecodingSetting.MODE;
import static org.eellm.decode.request.DecodingSetting.POLICY;
import static org.eellm.decode.request.DecodingSetting.THRESHOLD;

import com.fasterxml.jackson.annotation.JsonValue;
import com.fasterxml.jackson.databind.annotation.JsonDeserialize;
import com.fasterxml.jackson.databind.util.StdConverter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.math.BigDecimal;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.function.Predicate;
import java.util.stream.Collectors;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSetting.Kind;
import org.eellm.decode.request.DecodingSetting.Part;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.speculate.DraftSource;

/**
 * A way to decode that a sweep tries.
 *
 * @param said without the calibration; a threshold is one for all exits
 * @param calibration file in place of the policy; the threshold takes the place of the file's
 */
@JsonDeserialize(converter = SweepSetting.FromJson.class)
public record SweepSetting(DecodingSettings said, Optional<String> calibration) {

  /** Early exits at a threshold on the largest probability. */
  public static SweepSetting atThreshold(double threshold) {
    return atThreshold(DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, threshold, List.of());
  }

  static SweepSetting atThreshold(
      DecodingMode mode, PolicyName policy, double threshold, List<Integer> exits) {
    return ofExits(mode, policy, exits).withThreshold(threshold);
  }

  /**
   * A calibration, such as one of gates, with one threshold for all exits in place of its own.
   *
   * @param file of the calibration
   */
  public static SweepSetting calibrated(DecodingMode mode, String file, double threshold) {
    return calibrated(mode, file).withThreshold(threshold);
  }

  /**
   * A calibration with its own thresholds.
   *
   * @param file of the calibration
   */
  public static SweepSetting calibrated(DecodingMode mode, String file) {
    return new SweepSetting(DecodingSettings.of(mode), Optional.of(file));
  }

  /** A policy with no more than its exits. */
  static SweepSetting ofExits(DecodingMode mode, PolicyName policy, List<Integer> exits) {
    return of(DecodingSettings.of(mode).with(POLICY, policy).with(EXITS, exits));
  }

  /** Drafts whose exit and length adapt: the full model's text. */
  public static SweepSetting adaptiveDrafts() {
    return of(DecodingSettings.of(DecodingMode.SPECULATIVE));
  }

  /** Adaptive drafts that the text alone makes. */
  static SweepSetting textDrafts() {
    return adaptiveDrafts().with(DRAFT_SOURCE, DraftSource.TEXT);
  }

  static SweepSetting speculative(int exit, int length, double margin) {
    return adaptiveDrafts()
        .with(DRAFT_EXIT, exit)
        .with(DRAFT_LENGTH, length)
        .with(DRAFT_MARGIN, margin);
  }

  private static SweepSetting of(DecodingSettings settings) {
    return new SweepSetting(settings, Optional.empty());
  }

  private SweepSetting withThreshold(double threshold) {
    return with(THRESHOLD, new ThresholdSetting.Same(threshold));
  }

  /** A copy with another setting. */
  <T> SweepSetting with(DecodingSetting<T> setting, T value) {
    return new SweepSetting(said.with(setting, value), calibration);
  }

  public DecodingMode mode() {
    return get(MODE).orElseThrow();
  }

  /** The value of a setting, if it is given. */
  public <T> Optional<T> get(DecodingSetting<T> setting) {
    return said.get(setting);
  }

  /** The settings as options and requests have them; reads the calibration's file. */
  DecodingSettings decoding() {
    return calibration.map(file -> said.with(CALIBRATION, read(file))).orElse(said);
  }

  private static Calibration read(String file) {
    try {
      return Calibration.read(Path.of(file));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** As an object with what is said, by the names of requests. */
  @JsonValue
  SequencedMap<String, Object> json() {
    SequencedMap<String, Object> object = new LinkedHashMap<>();
    said.settings()
        .forEach(
            setting ->
                object.put(
                    setting.field(),
                    switch (said.get(setting).orElseThrow()) {
                      case Enum<?> choice -> choice.name().toLowerCase(Locale.ROOT);
                      case ThresholdSetting.Same(double threshold) -> threshold;
                      case Object value -> value;
                    }));
    calibration.ifPresent(file -> object.put(CALIBRATION.field(), file));
    return object;
  }

  /** Reads {@link #json}. */
  static final class FromJson extends StdConverter<Map<String, Object>, SweepSetting> {
    @Override
    public SweepSetting convert(Map<String, Object> object) {
      return read(object);
    }
  }

  private static SweepSetting read(Map<String, Object> object) {
    DecodingSettings said = DecodingSettings.NONE;
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      Object value = object.get(setting.field());
      if (value != null && setting != CALIBRATION) {
        said = said.withValue(setting, value(setting.kind(), value));
      }
    }
    return new SweepSetting(
        said, Optional.ofNullable(object.get(CALIBRATION.field())).map(String::valueOf));
  }

  private static Object value(Kind kind, Object value) {
    return switch (kind) {
      case Kind.Choice(List<? extends Enum<?>> values) ->
          values.stream()
              .filter(choice -> choice.name().equalsIgnoreCase(value.toString()))
              .findFirst()
              .orElseThrow();
      case Kind.Thresholds _ -> new ThresholdSetting.Same(((Number) value).doubleValue());
      case Kind.RealNumber _ -> ((Number) value).doubleValue();
      default -> value;
    };
  }

  /** The options of {@code eellm generate} that do this. */
  public String options() {
    List<String> words = new ArrayList<>();
    said.settings()
        .map(setting -> "--%s %s".formatted(setting, text(setting).replace(", ", ",")))
        .forEach(words::add);
    calibration.ifPresent(file -> words.add("--calibration " + file));
    return String.join(" ", words);
  }

  private String text(DecodingSetting<?> setting) {
    return switch (said.get(setting).orElseThrow()) {
      case ThresholdSetting.Same(double threshold) -> number(threshold);
      case Double value -> number(value);
      case List<?> layers -> layers.stream().map(String::valueOf).collect(Collectors.joining(", "));
      case Object value -> value.toString();
    };
  }

  /** A name for files. */
  String name() {
    return options().replaceAll("[^\\w.]+", "-").substring(1);
  }

  /** Its name in tables: {@code lossless}, {@code threshold 0.9}, {@code gate 0.95}. */
  public String label() {
    String family = family();
    String numbers = numbers();
    return numbers.isEmpty() ? family : family + (family.contains(",") ? ": " : " ") + numbers;
  }

  /**
   * The part of the name that settings share if they differ in a number only; the mode where it is
   * neither drafts nor early exits.
   */
  String family() {
    List<String> words = new ArrayList<>();
    switch (mode()) {
      case SPECULATIVE -> words.add("lossless");
      case EARLY_EXIT -> {}
      case FULL, RECOMPUTE, PROPAGATE -> words.add(mode().toString());
    }
    get(POLICY)
        .map(value -> value == PolicyName.MAX_PROBABILITY ? "threshold" : value.toString())
        .ifPresent(words::add);
    calibration.ifPresent(
        file ->
            words.add(
                switch (read(file).rule()) {
                  case Calibration.OfGates gates -> gates.name();
                  case Calibration.OfPolicy rule -> "calibrated " + rule.name();
                }));
    if (!said.exits().isEmpty() && !isOfExits()) {
      words.add("exits " + text(EXITS));
    }
    get(DRAFT_EXIT).ifPresent(value -> words.add("exit " + value));
    return String.join(", ", words);
  }

  /** Its numbers, which tell it from others of its family; none where drafts adapt. */
  String numbers() {
    List<String> words = new ArrayList<>();
    if (isOfExits()) {
      words.add(said.exits().isEmpty() ? "all exits" : "exit " + text(EXITS));
    }
    said.settings()
        .filter(setting -> setting.part() != Part.MODE)
        .filter(Predicate.not(List.of(POLICY, EXITS, DRAFT_EXIT)::contains))
        .map(this::word)
        .forEach(words::add);
    return String.join(", ", words);
  }

  private String word(DecodingSetting<?> setting) {
    String text = text(setting);
    return switch (setting.kind()) {
      case Kind.Choice _ -> "drafts of " + text;
      case Kind.WholeNumber _ -> setting == DRAFT_LENGTH ? text + " tokens" : setting + " " + text;
      default -> text;
    };
  }

  /** Whether its exits alone tell it from others of its policy. */
  private boolean isOfExits() {
    return get(POLICY).isPresent()
        && said.settings().allMatch(List.of(MODE, POLICY, EXITS)::contains);
  }

  /** With as many places as it has, and at least one. */
  private static String number(double value) {
    BigDecimal exact = BigDecimal.valueOf(value).stripTrailingZeros();
    return exact.setScale(Math.max(1, exact.scale())).toPlainString();
  }
}
