package org.eellm.config;

import static org.eellm.config.ConfigException.require;
import static org.eellm.config.ConfigException.requireNotNegative;

import java.util.Collections;
import java.util.EnumSet;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * A run that tunes the exits or the draft head of a trained model, or low-rank changes of its
 * trunk. {@code eellm tune} sets {@code model} and {@code heads}; {@code eellm train} has neither.
 *
 * @param model folder of the model that is tuned
 * @param heads folder of heads to start from; null: the model's own
 * @param target what learns, and from what
 * @param lora changes of the trunk
 */
public record TuneConfig(
    @MayChangeOnResume Optional<String> model,
    @NoEffectWith(Choice.TRAINING_ALL) Optional<String> heads,
    @NoEffectWith({Choice.TRAINING_ALL, Choice.LORA}) Target target,
    Lora lora) {

  /**
   * TEXT: exits learn the next token. FINAL_HEAD: exits learn the final head's probabilities (KL
   * divergence). DRAFT_HEAD: a draft head learns them, of tokens further and further ahead.
   */
  public enum Target {
    TEXT,
    FINAL_HEAD,
    DRAFT_HEAD
  }

  /** A linear map of a layer, by its module's name in the Hugging Face scheme. */
  public enum Projection {
    Q_PROJ,
    K_PROJ,
    V_PROJ,
    O_PROJ,
    GATE_PROJ,
    UP_PROJ,
    DOWN_PROJ;

    /** The module's name. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * Low-rank changes of linear maps (LoRA, arXiv 2106.09685): {@code y = W x + alpha / rank * B A
   * dropout(x)}.
   *
   * @param rank rows of A and columns of B; 0: there are none, and exits learn
   * @param alpha over the rank, the change's factor
   * @param dropout the probability
   * @param targets the maps that are changed in every layer; empty: all
   */
  public record Lora(
      @NoEffectWith(Choice.TRAINING_ALL) int rank,
      @NoEffectWith(Choice.NO_LORA) double alpha,
      @NoEffectWith(Choice.NO_LORA) double dropout,
      @NoEffectWith(Choice.NO_LORA) Set<Projection> targets) {
    public Lora {
      requireNotNegative(rank, "tune.lora.rank", "0 tunes exits, 8 to 64 is usual");
      require(
          alpha > 0 && Double.isFinite(alpha),
          "tune.lora.alpha",
          alpha + " is not positive; once or twice the rank is usual");
      require(
          dropout >= 0 && dropout < 1,
          "tune.lora.dropout",
          dropout + " is not from 0 to below 1; 0 drops nothing");
      EnumSet<Projection> ordered = EnumSet.noneOf(Projection.class);
      ordered.addAll(targets);
      targets = Collections.unmodifiableSet(ordered);
    }

    /** No changes. */
    public static Lora none() {
      return new Lora(0, 16, 0, Set.of());
    }

    /** What B A x is multiplied with. */
    public double scale() {
      return alpha / rank;
    }

    /** Whether a map is changed, by its module's name. */
    public boolean changes(String module) {
      return targets.isEmpty() || targets.stream().anyMatch(each -> each.toString().equals(module));
    }
  }

  /** Which parameters the run changes. */
  public Learning learning() {
    if (model.isEmpty()) {
      return Learning.EVERYTHING;
    }
    if (lora.rank() > 0) {
      return new Learning.Adapter(lora);
    }
    return switch (target) {
      case TEXT -> Learning.EXITS;
      case FINAL_HEAD -> Learning.EXITS_FROM_FINAL_HEAD;
      case DRAFT_HEAD -> Learning.DRAFT_HEAD;
    };
  }
}
