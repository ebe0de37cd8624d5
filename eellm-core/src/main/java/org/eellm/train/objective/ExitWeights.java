package org.eellm.train.objective;

import java.util.List;
import org.eellm.config.ExitsConfig;

/**
 * The exits' loss weights as a pure function of the step: the {@code w_n} of the objective {@code
 * L_final + sum_n w_n L_n}. The final head's weight is always 1.
 *
 * <p>With {@code k = step - 1} steps done, {@code C} curriculum steps and {@code r = min(1, k /
 * C)}, a weight goes from {@code a} (initial) to {@code b} (target):
 *
 * <ul>
 *   <li>constant: {@code b};
 *   <li>linear: {@code a + r (b - a)} and cosine: {@code a + (1 - cos(pi r)) / 2 (b - a)} (EE-LLM,
 *       arXiv 2312.04916);
 *   <li>step: {@code a} while {@code k < C}, then {@code b};
 *   <li>rotational: {@code b} for exit {@code k mod N} of the {@code N}, 0 for the others, while
 *       {@code k < C}; then all (LayerSkip, arXiv 2404.16710, section 4.1.2);
 *   <li>gradual: the {@code j}-th exit from the deepest is 0 until {@code k >= j C / N}, then
 *       {@code b}, so that the shallowest joins at {@code k = C} (same section).
 * </ul>
 *
 * <p>A head whose weight is 0 at a step is not computed in that step.
 */
public final class ExitWeights {
  private ExitWeights() {}

  /**
   * The weight of each exit, in the order of {@code exits.layers}.
   *
   * @param step the step, from 1
   */
  public static double[] at(ExitsConfig exits, long step) {
    if (step < 1) {
      throw new IllegalArgumentException("step " + step + " is below 1");
    }
    long done = step - 1;
    List<Double> targets = exits.weights();
    int count = targets.size();
    double[] weights = new double[count];
    for (int exit = 0; exit < count; exit++) {
      double target = targets.get(exit);
      double initial = exits.initialWeights().get(exit);
      weights[exit] =
          done >= exits.curriculumSteps()
              ? target
              : underCurriculum(exits, done, exit, count, initial, target);
    }
    return weights;
  }

  /**
   * The weight of an exit's divergence from the final head: 0 while {@code k} is below {@code
   * distillation_start}, then linearly from 0 to {@code distillation} over {@code
   * distillation_steps}.
   *
   * @param step the step, from 1
   */
  public static double distillationAt(ExitsConfig exits, long step) {
    long since = step - 1 - exits.distillationStart();
    if (since < 0) {
      return 0;
    }
    return since < exits.distillationSteps()
        ? exits.distillation() * since / exits.distillationSteps()
        : exits.distillation();
  }

  private static double underCurriculum(
      ExitsConfig exits, long done, int exit, int count, double initial, double target) {
    double progress = (double) done / exits.curriculumSteps();
    return switch (exits.curriculum()) {
      case CONSTANT -> target;
      case LINEAR -> initial + progress * (target - initial);
      case COSINE -> initial + 0.5 * (1 - Math.cos(Math.PI * progress)) * (target - initial);
      case STEP -> initial;
      case ROTATIONAL -> done % count == exit ? target : 0;
      case GRADUAL -> {
        int fromDeepest = count - exit;
        yield done * count >= (long) fromDeepest * exits.curriculumSteps() ? target : 0;
      }
    };
  }
}
