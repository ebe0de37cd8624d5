package org.eellm.config;

import java.util.Optional;

/**
 * A run that changes the exits' heads of a trained model and nothing else; one that trains a whole
 * model has none of these settings.
 *
 * @param model folder of the model, whose exits' heads the run starts from
 * @param heads folder of heads to start from in place of the model's own
 * @param target what the exits learn
 */
public record TuneConfig(Optional<String> model, Optional<String> heads, Target target) {

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
