package org.eellm.config;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;
import java.util.Map;
import java.util.function.Predicate;
import org.eellm.config.ExitsConfig.Curriculum;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.OptimizerConfig.Schedule;

/**
 * Refuses settings that the others leave without effect. A value that equals the default is let
 * pass: a resolved configuration has all keys.
 */
final class IneffectiveSettings {
  private static final List<Rule> RULES =
      List.of(
          rule(
              "model.rope_theta",
              config -> config.model().positionEmbedding() == PositionEmbedding.LEARNED,
              "model.position_embedding: learned"),
          rule(
              "model.rope_scaling",
              config -> config.model().positionEmbedding() == PositionEmbedding.LEARNED,
              "model.position_embedding: learned"),
          rule("exits.head", IneffectiveSettings::hasNoExits, "exits.layers: []"),
          rule("exits.tie_output", IneffectiveSettings::hasNoExits, "exits.layers: []"),
          rule("exits.curriculum", IneffectiveSettings::hasNoExits, "exits.layers: []"),
          rule("exits.dynamic_token_weights", IneffectiveSettings::hasNoExits, "exits.layers: []"),
          rule("exits.distillation", IneffectiveSettings::hasNoExits, "exits.layers: []"),
          rule("exits.distillation", IneffectiveSettings::tunes, "tune.model"),
          rule(
              "exits.distillation_start",
              config -> config.exits().distillation() == 0,
              "exits.distillation: 0"),
          rule(
              "exits.initial_weights",
              config -> config.exits().curriculum() == Curriculum.CONSTANT,
              "exits.curriculum: constant"),
          rule(
              "exits.initial_weights",
              config -> config.exits().curriculum() == Curriculum.ROTATIONAL,
              "exits.curriculum: rotational"),
          rule(
              "exits.initial_weights",
              config -> config.exits().curriculum() == Curriculum.GRADUAL,
              "exits.curriculum: gradual"),
          rule("data.split", config -> !config.data().validation().isEmpty(), "data.validation"),
          rule(
              "train.rampup.start",
              config -> config.train().rampup().samples() == 0,
              "train.rampup.samples: 0"),
          rule(
              "train.rampup.increment",
              config -> config.train().rampup().samples() == 0,
              "train.rampup.samples: 0"),
          rule(
              "train.eval_batches",
              config -> config.train().evalInterval() == 0,
              "train.eval_interval: 0"),
          rule(
              "train.spike_window",
              config -> config.train().spikeThreshold() == 0,
              "train.spike_threshold: 0"),
          rule(
              "optimizer.min_learning_rate",
              config -> config.optimizer().schedule() == Schedule.CONSTANT,
              "optimizer.schedule: constant"),
          rule(
              "optimizer.stable_share",
              config -> config.optimizer().schedule() != Schedule.WSD,
              "an optimizer.schedule other than wsd"),
          rule(
              "optimizer.muon_learning_rate",
              config -> config.optimizer().algorithm() != OptimizerConfig.Algorithm.MUON,
              "an optimizer.algorithm other than muon"),
          rule("parallel.balance", config -> config.parallel().pp() == 1, "parallel.pp: 1"),
          rule("parallel.pre_exit", config -> config.parallel().pp() == 1, "parallel.pp: 1"),
          rule("train.recompute", IneffectiveSettings::tunes, "tune.model"),
          rule("train.layer_dropout", IneffectiveSettings::tunes, "tune.model"),
          rule("parallel.fill_warmup", IneffectiveSettings::tunes, "tune.model"),
          rule("parallel.fill_cooldown", IneffectiveSettings::tunes, "tune.model"),
          rule(
              "parallel.schedule",
              config -> config.tune().learning() == Learning.EXITS,
              "tune.target: text"),
          rule("tune.heads", config -> !tunes(config), "no tune.model"),
          rule("tune.target", config -> !tunes(config), "no tune.model"));

  /**
   * @param key of the setting
   * @param unused where it has no effect
   * @param reason the choice that leaves it without
   */
  private record Rule(String key, Predicate<RunConfig> unused, String reason) {

    JsonNode in(JsonNode tree) {
      return tree.at("/" + key.replace('.', '/'));
    }
  }

  private IneffectiveSettings() {}

  private static Rule rule(String key, Predicate<RunConfig> unused, String reason) {
    return new Rule(key, unused, reason);
  }

  private static boolean tunes(RunConfig config) {
    return config.tune().model().isPresent();
  }

  private static boolean hasNoExits(RunConfig config) {
    return config.exits().layers().isEmpty();
  }

  /**
   * Checks a configuration.
   *
   * @param tree of the configuration, bound and resolved
   * @param defaults the defaults, likewise
   * @param places where each key was set
   * @throws ConfigException if a setting has no effect
   */
  static void check(
      RunConfig config, JsonNode tree, JsonNode defaults, Map<String, String> places) {
    for (Rule rule : RULES) {
      JsonNode value = rule.in(tree);
      JsonNode usual = rule.in(defaults);
      if (rule.unused().test(config) && !value.equals(usual) && !isZeros(value)) {
        String place = places.containsKey(rule.key()) ? places.get(rule.key()) + ": " : "";
        throw new ConfigException(
            "%s%s: %s has no effect with %s; remove it, or leave it at its default %s"
                .formatted(place, rule.key(), text(value), rule.reason(), text(usual)));
      }
    }
  }

  /** Where an empty list, the default, has been filled in. */
  private static boolean isZeros(JsonNode value) {
    if (!value.isArray()) {
      return false;
    }
    for (JsonNode element : value) {
      if (element.asDouble(1) != 0) {
        return false;
      }
    }
    return true;
  }

  /** A value for people. */
  static String text(JsonNode value) {
    return value.isTextual() ? value.textValue() : value.toString().replace("\"", "");
  }
}
