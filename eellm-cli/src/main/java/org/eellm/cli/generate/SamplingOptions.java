package org.eellm.cli.generate;

import java.io.PrintWriter;
import java.util.Map;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.config.ConfigException;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.sample.SamplingParams;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** How tokens are drawn, as a mixin. */
@Command
final class SamplingOptions {
  @Mixin private SamplingTableOptions table;

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

  /** The first of these options that changes something. */
  Optional<String> given() {
    return table.given().entrySet().stream()
        .filter(each -> each.getValue() != each.getKey().of(SamplingParams.GREEDY))
        .map(each -> "--" + each.getKey())
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
    SamplingParams params = table.over(defaults).over(SamplingParams.GREEDY);
    return new RandomSampler(held.apply(params.withLogitBias(logitBias)), seed);
  }

  /** Tells of a model's own values, if there are any and not all are overruled. */
  void tell(SamplingDefaults defaults, PrintWriter err) {
    if (!table.given().keySet().containsAll(defaults.values().keySet())) {
      err.printf(
          "tokens are drawn as %s says: %s; options overrule it%n",
          HuggingFaceConfig.GENERATION_CONFIG, defaults.description().orElse("nothing"));
    }
  }
}
