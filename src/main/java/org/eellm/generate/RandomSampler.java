package org.eellm.generate;

import java.util.Map;
import java.util.SplittableRandom;
import org.eellm.config.SettingException;

/**
 * Draws the next token, in this order: logits are changed by {@code logitBias} and {@code
 * penalties} and divided by {@code temperature}; the {@code topK} best stay, of these the fewest
 * best whose probabilities sum to {@code topP}, of these those that are at least {@code minP} as
 * probable as the best.
 *
 * <p>The random numbers of a token depend on the seed and the token's position alone, so a prompt's
 * text does not depend on the other prompts of a batch.
 *
 * @param temperature 0 takes the best id always
 * @param topK 0 for no limit
 * @param topP 1 for no limit
 * @param minP 0 for no limit
 * @param logitBias added to the logits of these ids
 */
public record RandomSampler(
    double temperature,
    int topK,
    double topP,
    double minP,
    Penalties penalties,
    Map<Integer, Double> logitBias,
    long seed)
    implements Sampler {

  private static final ThreadLocal<Candidates> SCRATCH = ThreadLocal.withInitial(Candidates::new);

  /** What a random number is for; each has numbers of its own. */
  private enum Purpose {
    TOKEN,
    JUDGEMENT,
    REPLACEMENT
  }

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

  /**
   * Without a minimal probability and logit biases.
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
        : candidates(prediction, SCRATCH.get()).draw(uniform(Purpose.TOKEN, prediction.position()));
  }

  private int best(Prediction prediction) {
    return penalties.equals(Penalties.NONE) && logitBias.isEmpty()
        ? prediction.best()
        : Candidates.best(logits(prediction));
  }

  /**
   * Proposes a token from an exit's distribution q. With the full model's distribution p it holds
   * with probability {@code min(1, p / q)}; if it does not, the token is drawn from what p has
   * beyond q. So the token is distributed as p says (arXiv 2211.17192, section 2.3).
   */
  @Override
  public Draft draft(Prediction prediction) {
    if (temperature == 0) {
      return Sampler.super.draft(prediction);
    }
    Candidates proposed = candidates(prediction, new Candidates()); // kept for the judgement
    int id = proposed.draw(uniform(Purpose.TOKEN, prediction.position()));
    return new Draft(id, full -> judge(id, proposed, full));
  }

  private int judge(int id, Candidates proposed, Prediction full) {
    Candidates wanted = candidates(full, SCRATCH.get());
    double point = uniform(Purpose.JUDGEMENT, full.position());
    return point * proposed.probability(id) < wanted.probability(id)
        ? id
        : wanted.beyond(proposed).draw(uniform(Purpose.REPLACEMENT, full.position()));
  }

  private Candidates candidates(Prediction prediction, Candidates memory) {
    memory.fill(logits(prediction), temperature, topK);
    return memory.topP(topP).minP(minP);
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
    return logits;
  }

  /** A number in [0, 1). */
  private double uniform(Purpose purpose, int position) {
    SplittableRandom streams = new SplittableRandom(seed);
    long stream = streams.nextLong();
    for (int i = 0; i < purpose.ordinal(); i++) {
      stream = streams.nextLong();
    }
    return new SplittableRandom(stream + position).nextDouble();
  }
}
