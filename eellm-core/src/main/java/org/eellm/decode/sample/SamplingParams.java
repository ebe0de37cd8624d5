package org.eellm.decode.sample;

import java.io.Serializable;
import java.util.Map;
import org.eellm.config.SettingException;
import org.jspecify.annotations.Nullable;

/**
 * How tokens are drawn, in this order: logits are changed by {@code logitBias}, {@code penalties},
 * {@code minTokens} and {@code constraint} and divided by {@code temperature}; the {@code topK}
 * best stay, of these the fewest best whose probabilities sum to {@code topP}, of these those that
 * are at least {@code minP} as probable as the best.
 *
 * @param temperature 0 takes the best id always
 * @param topK 0 for no limit
 * @param topP 1 for no limit
 * @param minP 0 for no limit
 * @param logitBias added to the logits of these ids
 * @param minTokens a token that ends the text is not drawn before
 * @param constraint what the text is held to, if anything
 */
public record SamplingParams(
    double temperature,
    int topK,
    double topP,
    double minP,
    Penalties penalties,
    Map<Integer, Double> logitBias,
    MinTokens minTokens,
    @Nullable TokenConstraint constraint)
    implements Serializable {
  /** Draws as the model predicts. */
  public static final SamplingParams AS_PREDICTED =
      new SamplingParams(1, 0, 1, 0, Penalties.NONE, Map.of(), MinTokens.NONE, null);

  /** Takes the best token always. */
  public static final SamplingParams GREEDY = AS_PREDICTED.with(SamplingSetting.TEMPERATURE, 0);

  public SamplingParams {
    logitBias = Map.copyOf(logitBias);
    require(
        temperature >= 0 && Double.isFinite(temperature),
        "temperature",
        "%s is negative; use 0 for the best token always, or more",
        temperature);
    require(topK >= 0, "top-k", "%s is negative; use 0 for no limit", topK);
    require(topP > 0 && topP <= 1, "top-p", "%s is outside (0, 1]; 1 is no limit", topP);
    require(minP >= 0 && minP <= 1, "min-p", "%s is outside [0, 1]; 0 is no limit", minP);
    logitBias.forEach(
        (id, bias) -> {
          require(id >= 0, "logit-bias", "%s is no token id; use 0 or more", id);
          require(
              Math.abs(bias) <= Penalties.MOST,
              "logit-bias",
              "%s is no number from -1e9 to 1e9",
              bias);
        });
  }

  private static void require(boolean condition, String name, String message, Object value) {
    if (!condition) {
      throw new SettingException(name, message.formatted(value));
    }
  }

  /** A copy with another value of a setting. */
  public SamplingParams with(SamplingSetting setting, double value) {
    return new SamplingParams(
        setting == SamplingSetting.TEMPERATURE ? value : temperature,
        setting == SamplingSetting.TOP_K ? (int) value : topK,
        setting == SamplingSetting.TOP_P ? value : topP,
        setting == SamplingSetting.MIN_P ? value : minP,
        penalties.with(setting, value),
        logitBias,
        minTokens,
        constraint);
  }

  public SamplingParams withLogitBias(Map<Integer, Double> value) {
    return new SamplingParams(
        temperature, topK, topP, minP, penalties, value, minTokens, constraint);
  }

  public SamplingParams withMinTokens(MinTokens value) {
    return new SamplingParams(
        temperature, topK, topP, minP, penalties, logitBias, value, constraint);
  }

  public SamplingParams withConstraint(TokenConstraint value) {
    return new SamplingParams(
        temperature, topK, topP, minP, penalties, logitBias, minTokens, value);
  }
}
