package org.eellm.cli.generate;

import java.io.PrintWriter;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.cli.option.GivenValues;
import org.eellm.config.ConfigException;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.sample.SamplingSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** How tokens are drawn, as a mixin. */
@Command
final class SamplingOptions {
  private final GivenValues<SamplingSetting> given = new GivenValues<>();

  @Option(
      names = "--logit-bias",
      split = ",",
      paramLabel = "ID=X",
      description = "Added to the logits of tokens, as in 17=-5,42=1.5.")
  private Map<Integer, Double> logitBias = Map.of();

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of the random draws; the same seed gives the same text. 0 by default.")
  private long seed;

  /** Gives a command an option for each line of the table. */
  @Spec(Spec.Target.MIXEE)
  void addTo(CommandSpec command) {
    for (SamplingSetting setting : SamplingSetting.values()) {
      command.addOption(
          given
              .option(setting, "--" + setting)
              .paramLabel(setting.label())
              .description(setting.description())
              .type(setting.range().whole() ? Integer.class : Double.class)
              .build());
    }
  }

  private double value(SamplingSetting setting, SamplingParams defaults) {
    return given
        .get(setting)
        .map(value -> ((Number) value).doubleValue())
        .orElseGet(() -> setting.of(defaults));
  }

  /** The first of these options that changes something. */
  Optional<String> given() {
    return Arrays.stream(SamplingSetting.values())
        .filter(
            setting -> value(setting, SamplingParams.GREEDY) != setting.of(SamplingParams.GREEDY))
        .map(setting -> "--" + setting)
        .findFirst()
        .or(() -> logitBias.isEmpty() ? Optional.empty() : Optional.of("--logit-bias"))
        .or(() -> seed == 0 ? Optional.empty() : Optional.of("--seed"));
  }

  /**
   * The sampler that the options come to.
   *
   * @param defaults what holds where there is no option
   * @throws ConfigException if one of them has a value that means nothing
   */
  Sampler sampler(SamplingDefaults defaults) {
    return sampler(defaults, UnaryOperator.identity());
  }

  /**
   * {@link #sampler(SamplingDefaults)}, with a change to what the options come to.
   *
   * @param held holds texts to a grammar, or changes nothing
   */
  Sampler sampler(SamplingDefaults defaults, UnaryOperator<SamplingParams> held) {
    SamplingParams otherwise = defaults.over(SamplingParams.GREEDY);
    SamplingParams params = otherwise.withLogitBias(logitBias);
    for (SamplingSetting setting : SamplingSetting.values()) {
      params = params.with(setting, value(setting, otherwise));
    }
    return new RandomSampler(held.apply(params), seed);
  }

  /** Tells of a model's own values, if there are any and not all are overruled. */
  void tell(SamplingDefaults defaults, PrintWriter err) {
    if (!defaults.values().keySet().stream().allMatch(setting -> given.get(setting).isPresent())) {
      err.printf(
          "tokens are drawn as %s says: %s; options overrule it%n",
          HuggingFaceConfig.GENERATION_CONFIG, defaults.description().orElse("nothing"));
    }
  }
}
