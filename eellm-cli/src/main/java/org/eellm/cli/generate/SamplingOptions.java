package org.eellm.cli.generate;

import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import org.eellm.cli.option.GivenValues;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
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

  private double value(SamplingSetting setting) {
    return given
        .get(setting)
        .map(value -> ((Number) value).doubleValue())
        .orElseGet(() -> setting.of(SamplingParams.GREEDY));
  }

  /** The first of these options that changes something. */
  Optional<String> given() {
    return Arrays.stream(SamplingSetting.values())
        .filter(setting -> value(setting) != setting.of(SamplingParams.GREEDY))
        .map(setting -> "--" + setting)
        .findFirst()
        .or(() -> logitBias.isEmpty() ? Optional.empty() : Optional.of("--logit-bias"))
        .or(() -> seed == 0 ? Optional.empty() : Optional.of("--seed"));
  }

  Sampler sampler() {
    SamplingParams params = SamplingParams.GREEDY.withLogitBias(logitBias);
    for (SamplingSetting setting : SamplingSetting.values()) {
      params = setting.with(params, value(setting));
    }
    return new RandomSampler(params, seed);
  }
}
