package org.eellm.config.setting;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;
import java.util.function.Predicate;
import org.eellm.config.ExitsConfig.Curriculum;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.OptimizerConfig.Algorithm;
import org.eellm.config.OptimizerConfig.Schedule;
import org.eellm.config.RunConfig;

/** A setting that other settings leave without effect: {@link IneffectiveSettings} refuses it. */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
public @interface NoEffectWith {

  /** The choices of which each leaves the setting without effect. */
  Choice[] value();

  /** What a run may have chosen. */
  enum Choice {
    LEARNED_POSITIONS(
        "model.position_embedding: learned",
        config -> config.model().positionEmbedding() == PositionEmbedding.LEARNED),
    NO_EXITS("exits.layers: []", config -> config.exits().layers().isEmpty()),
    NO_DISTILLATION("exits.distillation: 0", config -> config.exits().distillation() == 0),
    CONSTANT_WEIGHTS(
        "exits.curriculum: constant", config -> config.exits().curriculum() == Curriculum.CONSTANT),
    ROTATIONAL_WEIGHTS(
        "exits.curriculum: rotational",
        config -> config.exits().curriculum() == Curriculum.ROTATIONAL),
    GRADUAL_WEIGHTS(
        "exits.curriculum: gradual", config -> config.exits().curriculum() == Curriculum.GRADUAL),
    VALIDATION_DATA("data.validation", config -> !config.data().validation().isEmpty()),
    NO_LAYER_DROPOUT("train.layer_dropout: 0", config -> config.train().layerDropout() == 0),
    NO_RAMPUP("train.rampup.samples: 0", config -> config.train().rampup().samples() == 0),
    NO_EVALUATION("train.eval_interval: 0", config -> config.train().evalInterval() == 0),
    NO_SPIKE_GUARD("train.spike_threshold: 0", config -> config.train().spikeThreshold() == 0),
    CONSTANT_RATE(
        "optimizer.schedule: constant",
        config -> config.optimizer().schedule() == Schedule.CONSTANT),
    NOT_WSD(
        "an optimizer.schedule other than wsd",
        config -> config.optimizer().schedule() != Schedule.WSD),
    NOT_MUON(
        "an optimizer.algorithm other than muon",
        config -> config.optimizer().algorithm() != Algorithm.MUON),
    ONE_REPLICA("parallel.dp: 1", config -> config.parallel().dp() == 1),
    ONE_STAGE("parallel.pp: 1", config -> config.parallel().pp() == 1),
    TUNING("tune.model", config -> config.tune().model().isPresent()),
    TUNING_ON_TEXT("tune.target: text", config -> config.tune().learning() == Learning.EXITS),
    TRAINING_ALL("no tune.model", config -> config.tune().model().isEmpty());

    private final String text;
    private final Predicate<RunConfig> made;

    Choice(String text, Predicate<RunConfig> made) {
      this.text = text;
      this.made = made;
    }

    boolean isMadeIn(RunConfig config) {
      return made.test(config);
    }

    /** The choice as messages name it. */
    @Override
    public String toString() {
      return text;
    }
  }
}
