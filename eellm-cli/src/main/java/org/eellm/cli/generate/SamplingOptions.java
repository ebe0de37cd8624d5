package org.eellm.cli.generate;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import org.eellm.decode.sample.MinTokens;
import org.eellm.decode.sample.Penalties;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingParams;
import picocli.CommandLine.Option;

/** How tokens are drawn, as a mixin. */
final class SamplingOptions {
  @Option(
      names = "--temperature",
      paramLabel = "T",
      defaultValue = "0",
      description = "0, the default, takes the most probable token always; 1 draws as predicted.")
  private double temperature;

  @Option(
      names = "--top-k",
      paramLabel = "K",
      defaultValue = "0",
      description = "Draw from the K most probable tokens; 0, the default, from all.")
  private int topK;

  @Option(
      names = "--top-p",
      paramLabel = "P",
      defaultValue = "1",
      description = "Draw from the fewest tokens whose probabilities reach P; 1 by default.")
  private double topP;

  @Option(
      names = "--min-p",
      paramLabel = "P",
      defaultValue = "0",
      description =
          "Draw from tokens that are at least P times as probable as the best; 0, the default, from"
              + " all.")
  private double minP;

  @Option(
      names = "--repetition-penalty",
      paramLabel = "X",
      defaultValue = "1",
      description = "Above 1, tokens that were there before become less probable; 1 by default.")
  private double repetitionPenalty;

  @Option(
      names = "--presence-penalty",
      paramLabel = "X",
      defaultValue = "0",
      description = "Taken from the logits of tokens that the text has; 0 by default.")
  private double presencePenalty;

  @Option(
      names = "--frequency-penalty",
      paramLabel = "X",
      defaultValue = "0",
      description =
          "Taken from the logits of tokens for every time the text has them; 0 by default.")
  private double frequencyPenalty;

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
    SequencedMap<String, Boolean> changed = new LinkedHashMap<>();
    changed.put("--temperature", temperature != 0);
    changed.put("--top-k", topK != 0);
    changed.put("--top-p", topP != 1);
    changed.put("--min-p", minP != 0);
    changed.put("--repetition-penalty", repetitionPenalty != 1);
    changed.put("--presence-penalty", presencePenalty != 0);
    changed.put("--frequency-penalty", frequencyPenalty != 0);
    changed.put("--logit-bias", !logitBias.isEmpty());
    changed.put("--seed", seed != 0);
    return changed.entrySet().stream()
        .filter(Map.Entry::getValue)
        .map(Map.Entry::getKey)
        .findFirst();
  }

  Sampler sampler() {
    Penalties penalties = new Penalties(repetitionPenalty, presencePenalty, frequencyPenalty);
    return new RandomSampler(
        new SamplingParams(temperature, topK, topP, minP, penalties, logitBias, MinTokens.NONE),
        seed);
  }
}
