package org.eellm.decode.sample;

import java.util.Map;
import org.eellm.config.SettingException;
import org.eellm.decode.token.Prediction;

/**
 * Draws the next token, in this order: logits are changed by {@code logitBias}, {@code penalties}
 * and {@code minTokens} and divided by {@code temperature}; the {@code topK} best stay, of these
 * the fewest best whose probabilities sum to {@code topP}, of these those that are at least {@code
 * minP} as probable as the best.
 *
 * <p>Chance is drawn for each id, from the seed and the token's position alone, and the best of all
 * ids wins ({@link SamplingNoise}). So a text does not depend on the other texts of a batch; and
 * where an exit and the full model are asked for the same token, they mostly choose the same, but
 * what the full model chooses never depends on what the exit did: with the same seed, a text with
 * drafts is the text without (arXiv 2408.07978).
 *
 * @param temperature 0 takes the best id always
 * @param topK 0 for no limit
 * @param topP 1 for no limit
 * @param minP 0 for no limit
 * @param logitBias added to the logits of these ids
 * @param minTokens a token that ends the text is not drawn before
 */
public record RandomSampler(
    double temperature,
    int topK,
    double topP,
    double minP,
    Penalties penalties,
    Map<Integer, Double> logitBias,
    MinTokens minTokens,
    long seed)
    implements Sampler {

  private static final ThreadLocal<TokenDistribution> SCRATCH =
      ThreadLocal.withInitial(TokenDistribution::new);

  public RandomSampler {
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
          require(Double.isFinite(bias), "logit-bias", "%s is no finite number", bias);
        });
  }

  /** Without a least length. */
  public RandomSampler(
      double temperature,
      int topK,
      double topP,
      double minP,
      Penalties penalties,
      Map<Integer, Double> logitBias,
      long seed) {
    this(temperature, topK, topP, minP, penalties, logitBias, MinTokens.NONE, seed);
  }

  /**
   * Without a minimal probability, logit biases and a least length.
   *
   * @param repetitionPenalty see {@link Penalties#repetition}
   */
  public RandomSampler(
      double temperature, int topK, double topP, double repetitionPenalty, long seed) {
    this(temperature, topK, topP, 0, new Penalties(repetitionPenalty, 0, 0), Map.of(), seed);
  }

  private static void require(boolean condition, String name, String message, Object value) {
    if (!condition) {
      throw new SettingException(name, message.formatted(value));
    }
  }

  @Override
  public int next(Prediction prediction) {
    return temperature == 0
        ? best(prediction)
        : candidates(prediction).sample(SamplingNoise.at(seed, prediction.position()));
  }

  private int best(Prediction prediction) {
    return changesLogits(prediction)
        ? TokenDistribution.best(logits(prediction))
        : prediction.best();
  }

  private TokenDistribution candidates(Prediction prediction) {
    TokenDistribution candidates = SCRATCH.get();
    if (changesLogits(prediction)) {
      candidates.fill(logits(prediction), temperature, topK);
    } else {
      candidates.fill(prediction.shortlistLogits(), temperature, topK);
      candidates.mapIds(prediction.shortlistIds());
    }
    return candidates.topP(topP).minP(minP);
  }

  private boolean changesLogits(Prediction prediction) {
    return !penalties.equals(Penalties.NONE)
        || !logitBias.isEmpty()
        || minTokens.appliesTo(prediction);
  }

  private float[] logits(Prediction prediction) {
    float[] logits = prediction.logits();
    logitBias.forEach(
        (id, bias) -> {
          if (id < logits.length) {
            logits[id] += bias.floatValue();
          }
        });
    penalties.apply(logits, prediction.tokens());
    if (minTokens.appliesTo(prediction)) {
      minTokens.apply(logits);
    }
    return logits;
  }
}
