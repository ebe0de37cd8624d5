package org.eellm.config;

import static java.util.stream.Collectors.joining;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.NoEffectWith;
import org.eellm.config.setting.Setting;
import org.junit.jupiter.api.Test;

/** What is declared beside the settings, seen as a whole. */
class SettingTest {

  @Test
  void all_thatMayChangeOnResume_changeNoStepOrHelpAfterDivergence() {
    assertThat(
            Setting.all(RunConfig.class)
                .filter(setting -> setting.component().isAnnotationPresent(MayChangeOnResume.class))
                .map(Setting::name))
        .containsExactly(
            "train.steps",
            "train.eval_interval",
            "train.eval_batches",
            "train.max_bad_steps",
            "train.copies_interval",
            "train.threads",
            "train.model",
            "optimizer.learning_rate",
            "optimizer.min_learning_rate",
            "optimizer.warmup_steps",
            "optimizer.muon_learning_rate",
            "optimizer.clip_norm",
            "parallel.tp",
            "parallel.cp",
            "parallel.dp",
            "parallel.pp",
            "parallel.sequence_parallel",
            "parallel.schedule",
            "parallel.chunks",
            "parallel.balance",
            "parallel.layers_per_stage",
            "parallel.pre_exit",
            "parallel.bucket_megabytes",
            "parallel.timeout_seconds",
            "checkpoint.interval",
            "checkpoint.minutes",
            "checkpoint.keep",
            "checkpoint.asynchronous",
            "logging.interval",
            "logging.tensorboard",
            "tune.model");
  }

  @Test
  void all_thatOthersLeaveWithoutEffect_nameThese() {
    assertThat(
            Setting.all(RunConfig.class)
                .filter(setting -> setting.component().isAnnotationPresent(NoEffectWith.class))
                .map(
                    setting ->
                        setting.name()
                            + ": "
                            + Arrays.stream(
                                    setting.component().getAnnotation(NoEffectWith.class).value())
                                .map(NoEffectWith.Choice::toString)
                                .collect(joining(" | "))))
        .containsExactly(
            "model.rope_theta: model.position_embedding: learned",
            "model.rope_scaling: model.position_embedding: learned",
            "model.rotary_fraction: model.position_embedding: learned",
            "model.sliding_rope_theta: model.position_embedding: learned",
            "exits.head: exits.layers: []",
            "exits.tie_output: exits.layers: []",
            "exits.curriculum: exits.layers: [] | tune.target: draft_head",
            "exits.initial_weights: exits.curriculum: constant | exits.curriculum: rotational |"
                + " exits.curriculum: gradual",
            "exits.dynamic_token_weights: exits.layers: [] | tune.target: draft_head",
            "exits.distillation: exits.layers: [] | tune.model",
            "exits.distillation_start: exits.distillation: 0",
            "exits.distillation_steps: exits.distillation: 0",
            "data.split: data.validation",
            "train.recompute: tune.model",
            "train.layer_dropout: tune.model",
            "train.layer_dropout_curriculum: train.layer_dropout: 0",
            "train.rampup.start: train.rampup.samples: 0",
            "train.rampup.increment: train.rampup.samples: 0",
            "train.eval_batches: train.eval_interval: 0",
            "train.spike_window: train.spike_threshold: 0",
            "train.model: tune.model",
            "optimizer.min_learning_rate: optimizer.schedule: constant",
            "optimizer.stable_share: an optimizer.schedule other than wsd",
            "optimizer.muon_learning_rate: an optimizer.algorithm other than muon",
            "parallel.schedule: tune.target: text",
            "parallel.balance: parallel.pp: 1",
            "parallel.pre_exit: parallel.pp: 1",
            "parallel.fill_warmup: tune.model",
            "parallel.fill_cooldown: tune.model",
            "parallel.bucket_megabytes: parallel.dp: 1",
            "tune.heads: no tune.model",
            "tune.target: no tune.model | tune.lora.rank",
            "tune.lora.rank: no tune.model",
            "tune.lora.alpha: tune.lora.rank: 0",
            "tune.lora.dropout: tune.lora.rank: 0",
            "tune.lora.targets: tune.lora.rank: 0");
  }
}
