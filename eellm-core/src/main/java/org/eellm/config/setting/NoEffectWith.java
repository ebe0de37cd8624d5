package org.eellm.config.setting;

import java.lang.annotation.Documented;
import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A setting that other settings leave without effect: {@link IneffectiveSettings} refuses it. */
@Documented
@Retention(RetentionPolicy.RUNTIME)
@Target(ElementType.RECORD_COMPONENT)
public @interface NoEffectWith {

  /** The choices of which each leaves the setting without effect. */
  Choice[] value();

  /** A choice of a run that leaves other settings without effect. */
  enum Choice {
    LEARNED_POSITIONS("model.position_embedding: learned"),
    NO_EXITS("exits.layers: []"),
    NO_DISTILLATION("exits.distillation: 0"),
    CONSTANT_WEIGHTS("exits.curriculum: constant"),
    ROTATIONAL_WEIGHTS("exits.curriculum: rotational"),
    GRADUAL_WEIGHTS("exits.curriculum: gradual"),
    VALIDATION_DATA("data.validation"),
    NO_LAYER_DROPOUT("train.layer_dropout: 0"),
    NO_RAMPUP("train.rampup.samples: 0"),
    NO_EVALUATION("train.eval_interval: 0"),
    NO_SPIKE_GUARD("train.spike_threshold: 0"),
    CONSTANT_RATE("optimizer.schedule: constant"),
    NOT_WSD("an optimizer.schedule other than wsd"),
    NOT_MUON("an optimizer.algorithm other than muon"),
    ONE_REPLICA("parallel.dp: 1"),
    ONE_STAGE("parallel.pp: 1"),
    TUNING("tune.model"),
    TUNING_EXITS("tune.model"),
    LORA("tune.lora.rank"),
    NO_LORA("tune.lora.rank: 0"),
    TUNING_ON_TEXT("tune.target: text"),
    TUNING_DRAFT_HEAD("tune.target: draft_head"),
    TRAINING_ALL("no tune.model");

    private final String text;

    Choice(String text) {
      this.text = text;
    }

    /** The choice as messages name it. */
    @Override
    public String toString() {
      return text;
    }
  }
}
