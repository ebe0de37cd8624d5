package org.eellm.decode.sample;

import java.util.Locale;
import java.util.function.ToDoubleFunction;

/**
 * The table of the numbers that say how tokens are drawn. Options of the command line and fields of
 * requests go by it; {@link SamplingParams} has the values, and refuses those that mean nothing.
 */
public enum SamplingSetting {
  TEMPERATURE(
      "T",
      new Range(0, 2, false),
      "0 takes the most probable token always, 1 draws as predicted; 0 by default, and 1 in serve."
          + " The model's own generation_config.json may have other defaults, for all of these"
          + " options.",
      SamplingParams::temperature),
  TOP_K(
      "K",
      new Range(-1, Integer.MAX_VALUE, true),
      "Draw from the K most probable tokens; 0, the default, from all.",
      SamplingParams::topK),
  TOP_P(
      "P",
      new Range(Double.MIN_VALUE, 1, false),
      "Draw from the fewest tokens whose probabilities reach P; 1 by default.",
      SamplingParams::topP),
  MIN_P(
      "P",
      new Range(0, 1, false),
      "Draw from tokens that are at least P times as probable as the best; 0, the default, from"
          + " all.",
      SamplingParams::minP),
  REPETITION_PENALTY(
      "X",
      new Range(0.01, 100, false),
      "Above 1, tokens that were there before become less probable; 1 by default.",
      params -> params.penalties().repetition()),
  PRESENCE_PENALTY(
      "X",
      new Range(-2, 2, false),
      "Taken from the logits of tokens that the text has; 0 by default.",
      params -> params.penalties().presence()),
  FREQUENCY_PENALTY(
      "X",
      new Range(-2, 2, false),
      "Taken from the logits of tokens for every time the text has them; 0 by default.",
      params -> params.penalties().frequency());

  /** The bounds of a value in requests, both allowed. */
  public record Range(double least, double most, boolean whole) {}

  private final String label;
  private final Range range;
  private final String description;
  private final ToDoubleFunction<SamplingParams> value;

  SamplingSetting(
      String label, Range range, String description, ToDoubleFunction<SamplingParams> value) {
    this.label = label;
    this.range = range;
    this.description = description;
    this.value = value;
  }

  public String label() {
    return label;
  }

  /** The bounds of a value in requests; -1 of a whole number is no limit, as 0 is. */
  public Range range() {
    return range;
  }

  /** For help, whose default is {@link SamplingParams#GREEDY}. */
  public String description() {
    return description;
  }

  public double of(SamplingParams params) {
    return value.applyAsDouble(params);
  }

  /** The name in requests: {@code top_p}. */
  public String field() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The name in options: {@code top-p}. */
  @Override
  public String toString() {
    return field().replace('_', '-');
  }
}
