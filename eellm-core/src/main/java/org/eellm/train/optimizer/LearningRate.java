package org.eellm.train.optimizer;

import org.eellm.config.OptimizerConfig;

/**
 * The learning rate as a pure function of the step, so that a resumed run needs no state for it.
 *
 * <p>Steps count from 1. With {@code w} warm-up steps, {@code D} the step at which the decay ends,
 * the peak rate {@code max} and the last rate {@code min}:
 *
 * <ul>
 *   <li>warm-up, {@code n <= w}: {@code max n / w}; the first step already learns, step {@code w}
 *       is at the peak;
 *   <li>then, with {@code d = (n - w) / (D - w)}:
 *       <ul>
 *         <li>constant: {@code max};
 *         <li>linear: {@code min + (1 - d) (max - min)};
 *         <li>cosine: {@code min + (1 + cos(pi d)) / 2 (max - min)};
 *         <li>inverse square root: {@code max sqrt(w / n)}, with {@code w} at least 1, and never
 *             below {@code min};
 *         <li>warm-up, stable, decay (WSD): {@code max} for the stable share of the steps after
 *             warm-up, then linear to {@code min};
 *       </ul>
 *   <li>after {@code D} the rate stays what it was at {@code D}.
 * </ul>
 */
public final class LearningRate {
  private LearningRate() {}

  /**
   * The learning rate of a step.
   *
   * @param totalSteps steps of the run; the decay ends there unless {@code optimizer.decay_steps}
   *     says otherwise
   * @param step the step, from 1
   */
  public static double at(OptimizerConfig optimizer, long totalSteps, long step) {
    if (step < 1) {
      throw new IllegalArgumentException("step " + step + " is below 1");
    }
    double peak = optimizer.learningRate();
    double least = optimizer.minLearningRate();
    long warmup = optimizer.warmupSteps();
    if (step <= warmup) {
      return peak * step / warmup;
    }
    long decayEnd = optimizer.decaySteps() == 0 ? totalSteps : optimizer.decaySteps();
    long clamped = Math.min(step, decayEnd);
    double decayed = (double) (clamped - warmup) / (decayEnd - warmup);
    return switch (optimizer.schedule()) {
      case CONSTANT -> peak;
      case LINEAR -> between(least, peak, 1 - decayed);
      case COSINE -> between(least, peak, 0.5 * (1 + Math.cos(Math.PI * decayed)));
      case INVERSE_SQUARE_ROOT ->
          Math.max(least, peak * Math.sqrt(Math.max(warmup, 1) / (double) clamped));
      case WSD -> {
        double stable = optimizer.stableShare();
        yield decayed <= stable ? peak : between(least, peak, (1 - decayed) / (1 - stable));
      }
    };
  }

  private static double between(double low, double high, double share) {
    return low + share * (high - low);
  }
}
