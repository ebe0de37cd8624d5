package org.eellm.config;

import java.util.Optional;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * A run that tunes the exits of a trained model. {@code eellm tune} sets {@code model} and {@code
 * heads}; {@code eellm train} has neither.
 *
 * @param model folder of the model whose exits are tuned
 * @param heads folder of heads to start from; null: the model's own
 * @param target what the exits learn
 */
public record TuneConfig(
    @MayChangeOnResume Optional<String> model,
    @NoEffectWith(Choice.TRAINING_ALL) Optional<String> heads,
    @NoEffectWith(Choice.TRAINING_ALL) Target target) {

  /** TEXT: the next token. FINAL_HEAD: the final head's probabilities (KL divergence). */
  public enum Target {
    TEXT,
    FINAL_HEAD
  }

  /** Which parameters the run changes. */
  public Learning learning() {
    if (model.isEmpty()) {
      return Learning.EVERYTHING;
    }
    return switch (target) {
      case TEXT -> Learning.EXITS;
      case FINAL_HEAD -> Learning.EXITS_FROM_FINAL_HEAD;
    };
  }
}
