package org.eellm.decode.sample;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.safetensors.JsonFiles;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.file.Shown;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How a model's makers say that its tokens are to be drawn, in {@code generation_config.json}.
 *
 * @param values of the settings that the file has; {@code do_sample: false} is the temperature 0
 */
public record SamplingDefaults(Map<SamplingSetting, Double> values) {
  private static final Logger LOG = LoggerFactory.getLogger(SamplingDefaults.class);

  // Fields that change a text in ways that are not offered, by what leaves a text as it is.
  private static final List<String> OFF_AT_0 =
      List.of(
          "no_repeat_ngram_size",
          "encoder_no_repeat_ngram_size",
          "min_length",
          "min_new_tokens",
          "penalty_alpha",
          "epsilon_cutoff",
          "eta_cutoff");
  private static final List<String> OFF_AT_1 =
      List.of("typical_p", "num_beams", "guidance_scale", "encoder_repetition_penalty");
  private static final List<String> OFF_WITHOUT_A_VALUE =
      List.of(
          "bad_words_ids",
          "suppress_tokens",
          "begin_suppress_tokens",
          "forced_bos_token_id",
          "forced_eos_token_id",
          "sequence_bias",
          "exponential_decay_length_penalty",
          "stop_strings",
          "token_healing",
          "watermarking_config",
          "dola_layers",
          "top_h");
  private static final Set<String> NO_VALUES = Set.of("", "null", "false", "\"\"", "[]", "{}");

  public SamplingDefaults {
    values = Map.copyOf(values);
  }

  /**
   * Reads a model folder's file; nothing if it has none, or is a file itself.
   *
   * @throws ConfigException if a value cannot be honoured
   */
  public static SamplingDefaults read(Path folder) {
    Path path = folder.resolve(HuggingFaceConfig.GENERATION_CONFIG);
    return Files.exists(path)
        ? of(JsonFiles.read(path), path.toString())
        : new SamplingDefaults(Map.of());
  }

  private static SamplingDefaults of(JsonNode file, String place) {
    Map<SamplingSetting, Double> values = new EnumMap<>(SamplingSetting.class);
    for (SamplingSetting setting : SamplingSetting.values()) {
      if (file.hasNonNull(setting.field())) {
        values.put(setting, value(file.path(setting.field()), setting, place));
      }
    }
    warn(OFF_AT_0, 0, file, place);
    warn(OFF_AT_1, 1, file, place);
    warn(OFF_WITHOUT_A_VALUE, Double.NaN, file, place);
    JsonNode samples = file.path("do_sample");
    if (samples.isBoolean()) {
      if (samples.booleanValue()) {
        values.putIfAbsent(SamplingSetting.TEMPERATURE, 1.0);
      } else {
        values.put(SamplingSetting.TEMPERATURE, 0.0);
      }
    }
    return new SamplingDefaults(values);
  }

  private static void warn(List<String> fields, double off, JsonNode file, String place) {
    for (String field : fields) {
      JsonNode value = file.path(field);
      if (value.isNumber() ? value.doubleValue() != off : !NO_VALUES.contains(value.toString())) {
        LOG.warn(
            "{}: {}: {} is not supported and has no effect", place, field, Shown.of(value, 60));
      }
    }
  }

  private static double value(JsonNode given, SamplingSetting setting, String place) {
    String field = place + ": " + setting.field();
    if (!given.isNumber() || (setting.range().whole() && given.doubleValue() != given.intValue())) {
      throw new ConfigException(
          "%s: %s is no %snumber; correct it"
              .formatted(field, Shown.of(given, 60), setting.range().whole() ? "whole " : ""));
    }
    double value = setting.range().whole() ? Math.max(0, given.intValue()) : given.doubleValue();
    try {
      SamplingParams.AS_PREDICTED.with(setting, value);
      return value;
    } catch (SettingException e) {
      throw e.named(name -> field);
    }
  }

  /** These values in place of others. */
  public SamplingParams over(SamplingParams others) {
    SamplingParams params = others;
    for (Map.Entry<SamplingSetting, Double> entry : values.entrySet()) {
      params = params.with(entry.getKey(), entry.getValue());
    }
    return params;
  }

  /** What they come to, for people; empty if there are none. */
  public Optional<String> description() {
    return values.isEmpty()
        ? Optional.empty()
        : Optional.of(
            values.entrySet().stream()
                .sorted(Map.Entry.comparingByKey())
                .map(entry -> entry.getKey() + " " + number(entry.getValue()))
                .collect(Collectors.joining(", ")));
  }

  private static String number(double value) {
    return value == Math.rint(value) ? Long.toString((long) value) : Double.toString(value);
  }
}
