package org.eellm.cli;

import org.eellm.generate.RandomSampler;
import org.eellm.generate.Sampler;
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
      names = "--repetition-penalty",
      paramLabel = "X",
      defaultValue = "1",
      description = "Above 1, tokens that were there before become less probable; 1 by default.")
  private double repetitionPenalty;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Of the random draws; the same seed gives the same text. 0 by default.")
  private long seed;

  Sampler sampler() {
    return new RandomSampler(temperature, topK, topP, repetitionPenalty, seed);
  }
}
