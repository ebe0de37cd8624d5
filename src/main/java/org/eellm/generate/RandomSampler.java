package org.eellm.generate;

import java.util.SplittableRandom;
import org.eellm.config.ConfigException;

/**
 * Draws the next token, in this order: logits of ids seen before are made smaller by {@code
 * repetitionPenalty}, all are divided by {@code temperature}, the {@code topK} best stay, and of
 * these the fewest best whose probabilities sum to {@code topP}.
 *
 * <p>The random number of a token depends on the seed and the token's position alone, so a prompt's
 * text does not depend on the other prompts of a batch.
 *
 * @param temperature 0 takes the best id always
 * @param topK 0 for no limit
 * @param topP 1 for no limit
 * @param repetitionPenalty positive logits are divided by it, negative ones multiplied (CTRL, arXiv
 *     1909.05858); 1 for none
 */
public record RandomSampler(
    double temperature, int topK, double topP, double repetitionPenalty, long seed)
    implements Sampler {

  public RandomSampler {
    require(
        temperature >= 0 && Double.isFinite(temperature),
        "temperature: %s is negative; use 0 for the best token always, or more",
        temperature);
    require(topK >= 0, "top-k: %s is negative; use 0 for no limit", topK);
    require(topP > 0 && topP <= 1, "top-p: %s is outside (0, 1]; 1 is no limit", topP);
    require(
        repetitionPenalty > 0 && Double.isFinite(repetitionPenalty),
        "repetition-penalty: %s is not positive; 1 is none",
        repetitionPenalty);
  }

  private static void require(boolean condition, String message, Object value) {
    if (!condition) {
      throw new ConfigException(message.formatted(value));
    }
  }

  @Override
  public int next(Prediction prediction) {
    if (temperature == 0 && repetitionPenalty == 1) {
      return prediction.best();
    }
    float[] logits = prediction.logits();
    penalize(logits, prediction.tokens());
    Candidates candidates = Candidates.of(logits, temperature);
    return temperature == 0
        ? candidates.best()
        : candidates.draw(topK, topP, uniform(prediction.position()));
  }

  private void penalize(float[] logits, Tokens tokens) {
    if (repetitionPenalty == 1) {
      return;
    }
    for (int id : tokens.distinct()) {
      if (id < logits.length) {
        logits[id] *= (float) (logits[id] > 0 ? 1 / repetitionPenalty : repetitionPenalty);
      }
    }
  }

  /** A number in [0, 1). */
  private double uniform(int position) {
    long stream = new SplittableRandom(seed).nextLong();
    return new SplittableRandom(stream + position).nextDouble();
  }
}
