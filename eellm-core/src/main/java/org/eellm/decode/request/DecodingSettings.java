package org.eellm.decode.request;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.PolicyName;

/**
 * How a text is to be decoded, in the words of options and requests; what was not said is absent. A
 * setting that has no effect beside the others is refused. {@link DecodingSetting} lists all.
 *
 * @param said values by setting, each of the setting's type
 */
public record DecodingSettings(Map<DecodingSetting<?>, Object> said) {

  /** Nothing is said. */
  public static final DecodingSettings NONE = new DecodingSettings(Map.of());

  /** One threshold, or one for each exit in use. */
  public sealed interface ThresholdSetting {

    /** One for all exits. */
    record Same(double value) implements ThresholdSetting {}

    /** By the exits' layers, from 1. */
    record PerLayer(SortedMap<Integer, Double> byLayer) implements ThresholdSetting {
      public PerLayer {
        byLayer = Collections.unmodifiableSortedMap(new TreeMap<>(byLayer));
      }
    }
  }

  public DecodingSettings {
    said = Map.copyOf(said);
    said.forEach(
        (setting, value) -> {
          if (!setting.kind().type().isInstance(value)) {
            throw new IllegalArgumentException(setting + ": " + value.getClass());
          }
        });
  }

  /** A mode, with what it has by default. */
  public static DecodingSettings of(DecodingMode mode) {
    return NONE.with(DecodingSetting.MODE, mode);
  }

  /** A copy with another setting; an empty list removes the setting. */
  public <T> DecodingSettings with(DecodingSetting<T> setting, T value) {
    return withValue(setting, value);
  }

  /** Like {@link #with}, for a setting of unknown type, which the value has to be of. */
  public DecodingSettings withValue(DecodingSetting<?> setting, Object value) {
    Map<DecodingSetting<?>, Object> all = new HashMap<>(said);
    if (value.equals(List.of())) {
      all.remove(setting);
    } else {
      all.put(setting, value instanceof List<?> list ? List.copyOf(list) : value);
    }
    return new DecodingSettings(all);
  }

  @SuppressWarnings("unchecked") // by what goes into the map
  public <T> Optional<T> get(DecodingSetting<T> setting) {
    return Optional.ofNullable((T) said.get(setting));
  }

  /** The value of a setting, or else its usual one. */
  <T> T orUsual(DecodingSetting<T> setting) {
    return get(setting).or(setting::usual).orElseThrow();
  }

  /** Layers of the exits to ask, from 1; all if empty. */
  public List<Integer> exits() {
    return get(DecodingSetting.EXITS).orElse(List.of());
  }

  /** The settings that something was said of, in the table's order. */
  public Stream<DecodingSetting<?>> settings() {
    return DecodingSetting.all().stream().filter(said::containsKey);
  }

  /** A copy with a calibration where tokens leave early and no setting says when; else this. */
  public DecodingSettings orCalibrated(Calibration own) {
    boolean early =
        get(DecodingSetting.MODE)
            .map(DecodingMode::leavesEarly)
            .orElse(
                get(DecodingSetting.THRESHOLD_DECAY).isPresent()
                    || get(DecodingSetting.MAX_PENDING).isPresent());
    boolean saysWhen =
        settings()
            .anyMatch(
                setting ->
                    setting.part() == DecodingSetting.Part.POLICY
                        || setting == DecodingSetting.THRESHOLD
                        || setting == DecodingSetting.CALIBRATION);
    return early && !saysWhen ? with(DecodingSetting.CALIBRATION, own) : this;
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
    return DecodingSetting.all().stream()
        .filter(setting -> setting != DecodingSetting.DRAFT_MEMORY) // which no result depends on
        .map(setting -> setting.fingerprintName() + "=" + fingerprint(setting))
        .collect(Collectors.joining(", ", "DecodingSettings[", "]"));
  }

  private String fingerprint(DecodingSetting<?> setting) {
    Object value = said.get(setting);
    if (setting == DecodingSetting.EXITS) {
      return exits().toString();
    }
    return value == null ? "Optional.empty" : "Optional[" + fingerprint(value) + "]";
  }

  private static String fingerprint(Object value) {
    return switch (value) {
      case ThresholdSetting.Same(double threshold) -> "Same[value=" + threshold + "]";
      case ThresholdSetting.PerLayer(SortedMap<Integer, Double> byLayer) ->
          "PerLayer[byLayer=" + byLayer + "]";
      case Calibration calibration -> fingerprint(calibration);
      default -> value.toString();
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
}
