package org.eellm.decode.sample;

import java.util.OptionalInt;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;

/**
 * Draws the next token.
 *
 * <p>Chance is drawn for each id, from the seed and the token's position alone, and the best of all
 * ids wins ({@link SamplingNoise}). So a text does not depend on the other texts of a batch; and
 * where an exit and the full model are asked for the same token, they mostly choose the same, but
 * what the full model chooses never depends on what the exit did: with the same seed, a text with
 * drafts is the text without (arXiv 2408.07978).
 */
public record RandomSampler(SamplingParams params, long seed) implements Sampler {

  private static final ThreadLocal<TokenDistribution> SCRATCH =
      ThreadLocal.withInitial(TokenDistribution::new);

  /** With what is asked for most. */
  public RandomSampler(
      double temperature, int topK, double topP, double repetitionPenalty, long seed) {
    this(
        SamplingParams.AS_PREDICTED
            .with(SamplingSetting.TEMPERATURE, temperature)
            .with(SamplingSetting.TOP_K, topK)
            .with(SamplingSetting.TOP_P, topP)
            .with(SamplingSetting.REPETITION_PENALTY, repetitionPenalty),
        seed);
  }

  @Override
  public int next(Prediction prediction) {
    return params.temperature() == 0
        ? best(prediction)
        : candidates(prediction).sample(SamplingNoise.at(seed, prediction.position()));
  }

  @Override
  public Choice choose(Prediction prediction) {
    if (params.temperature() > 0) {
      return candidates(prediction).choose(SamplingNoise.at(seed, prediction.position()));
    }
    if (!changesLogits(prediction)) {
      return new Choice(prediction.best(), prediction.relativeMargin());
    }
    float[] logits = logits(prediction);
    int id = TokenDistribution.best(logits);
    float best = logits[id];
    logits[id] = Float.NEGATIVE_INFINITY;
    return new Choice(id, 1 - Math.exp(logits[TokenDistribution.best(logits)] - best));
  }

  @Override
  public int[] favored(int position, int vocabSize) {
    return params.temperature() == 0 ? NO_IDS : SamplingNoise.at(seed, position).favored(vocabSize);
  }

  @Override
  public OptionalInt forced(Tokens tokens) {
    TokenConstraint constraint = params.constraint();
    return constraint == null ? OptionalInt.empty() : constraint.forced(tokens);
  }

  @Override
  public boolean takesBest() {
    return params.temperature() == 0
        && params.penalties().equals(Penalties.NONE)
        && params.logitBias().isEmpty()
        && params.minTokens().count() == 0
        && params.constraint() == null;
  }

  private int best(Prediction prediction) {
    return changesLogits(prediction)
        ? TokenDistribution.best(logits(prediction))
        : prediction.best();
  }

  private TokenDistribution candidates(Prediction prediction) {
    TokenDistribution candidates = SCRATCH.get();
    if (changesLogits(prediction)) {
      candidates.fill(logits(prediction), params.temperature(), params.topK());
    } else {
      candidates.fill(prediction.shortlistLogits(), params.temperature(), params.topK());
      candidates.mapIds(prediction.shortlistIds());
    }
    return candidates.topP(params.topP()).minP(params.minP());
  }

  private boolean changesLogits(Prediction prediction) {
    return !params.penalties().equals(Penalties.NONE)
        || !params.logitBias().isEmpty()
        || params.minTokens().appliesTo(prediction)
        || params.constraint() != null;
  }

  private float[] logits(Prediction prediction) {
    float[] logits = prediction.logits();
    params
        .logitBias()
        .forEach(
            (id, bias) -> {
              if (id < logits.length) {
                logits[id] += bias.floatValue();
              }
            });
    params.penalties().apply(logits, prediction.tokens());
    if (params.minTokens().appliesTo(prediction)) {
      params.minTokens().apply(logits);
    }
    TokenConstraint constraint = params.constraint();
    if (constraint != null) {
      constraint.apply(logits, prediction.tokens());
    }
    return logits;
  }
}
