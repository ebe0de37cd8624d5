package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireNotNegative;
import static org.eellm.config.ConfigException.requirePositive;

import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * The optimizer, with decoupled decay, and its schedules.
 *
 * @param algorithm the optimizer
 * @param learningRate peak rate
 * @param minLearningRate rate at the end of decay
 * @param schedule shape after warm-up
 * @param warmupSteps steps of linear warm-up from 0
 * @param decaySteps step at which decay ends; 0: {@code train.steps}
 * @param stableShare for {@code wsd}: share of the steps after warm-up that stay at the peak rate
 * @param beta1 decay of the average of the gradient, for AdamW and Muon
 * @param beta2 decay of the average of the squared gradient, for AdamW
 * @param epsilon added to the root of that average, for AdamW
 * @param muonLearningRate peak rate of the matrices that Muon updates; 0: {@code learningRate}
 * @param weightDecay of tensors with 2 or more dimensions
 * @param clipNorm largest global L2 norm of the gradient; 0: no limit
 */
public record OptimizerConfig(
    Algorithm algorithm,
    @MayChangeOnResume double learningRate,
    @MayChangeOnResume @NoEffectWith(Choice.CONSTANT_RATE) double minLearningRate,
    Schedule schedule,
    @MayChangeOnResume int warmupSteps,
    int decaySteps,
    @NoEffectWith(Choice.NOT_WSD) double stableShare,
    double beta1,
    double beta2,
    double epsilon,
    @MayChangeOnResume @NoEffectWith(Choice.NOT_MUON) double muonLearningRate,
    double weightDecay,
    @MayChangeOnResume double clipNorm) {

  /**
   * MUON: the matrices between hidden states by orthogonalised momentum (Jordan 2024), the rest by
   * ADAMW.
   */
  public enum Algorithm {
    ADAMW,
    MUON
  }

  public enum Schedule {
    CONSTANT,
    LINEAR,
    COSINE,
    INVERSE_SQUARE_ROOT,
    WSD
  }

  public OptimizerConfig {
    requirePositive(learningRate, "optimizer.learning_rate", "3e-4 is usual");
    require(
        minLearningRate >= 0 && minLearningRate <= learningRate,
        "optimizer.min_learning_rate",
        minLearningRate + " is outside [0, learning_rate " + learningRate + "]");
    requireNotNegative(warmupSteps, "optimizer.warmup_steps", "use 0 or more");
    requireNotNegative(decaySteps, "optimizer.decay_steps", "0 means train.steps");
    require(
        decaySteps == 0 || decaySteps > warmupSteps,
        "optimizer.decay_steps",
        decaySteps + " is not beyond warmup_steps " + warmupSteps + "; 0 means train.steps");
    require(
        decaySteps == 0 || schedule != Schedule.CONSTANT,
        "optimizer.decay_steps",
        decaySteps + " has no effect with schedule: constant; remove it or name a schedule");
    require(
        stableShare >= 0 && stableShare <= 1,
        "optimizer.stable_share",
        stableShare + " is outside [0, 1]");
    require(beta1 >= 0 && beta1 < 1, "optimizer.beta1", beta1 + " is outside [0, 1); 0.9 is usual");
    require(
        beta2 >= 0 && beta2 < 1, "optimizer.beta2", beta2 + " is outside [0, 1); 0.95 is usual");
    requirePositive(epsilon, "optimizer.epsilon", "1e-8 is usual");
    requireNotNegative(
        muonLearningRate, "optimizer.muon_learning_rate", "0 means optimizer.learning_rate");
    requireNotNegative(weightDecay, "optimizer.weight_decay", "0.1 is usual");
    requireNotNegative(clipNorm, "optimizer.clip_norm", "0 switches clipping off");
  }

  /** The rate of the matrices that Muon updates, by that of the rest: both have one schedule. */
  public double muonShare() {
    return muonLearningRate == 0 ? 1 : muonLearningRate / learningRate;
  }
}
