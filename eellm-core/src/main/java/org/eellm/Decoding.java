package org.eellm;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.config.SettingException;
import org.eellm.config.setting.RecordCopy;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.sample.SamplingSetting;
import org.eellm.decode.sample.TokenConstraint;
import org.eellm.grammar.GrammarSource;

/**
 * How a text is generated. Begin with one of the methods that tell when a token leaves, and change
 * the rest:
 *
 * <pre>{@code
 * Decoding.threshold(0.8).withMaxTokens(64).withTemperature(0.7).withSeed(1).withStop("\n\n")
 * }</pre>
 *
 * @param method when a token leaves, or who drafts
 * @param maxTokens most tokens to generate; fewer where the model's context ends before
 * @param sampling how a token is chosen
 * @param stop texts that end the text and are no part of it
 * @param adapter the name of the one that writes it, of those that the model was loaded with; empty
 *     for the model as it is
 * @param grammar what the text is held to, if anything; docs/structured-output.md
 */
public record Decoding(
    org.eellm.decode.request.DecodingMethod method,
    int maxTokens,
    Sampling sampling,
    List<String> stop,
    String adapter,
    Optional<GrammarSource> grammar) {
  /** Most tokens by default. */
  public static final int MAX_TOKENS = 256;

  /**
   * How a token is chosen from what a head predicts. What a model's {@code generation_config.json}
   * says of it is taken by {@code eellm generate}, {@code chat} and {@code serve} alone: here the
   * default is {@link #GREEDY} for every model.
   *
   * @param temperature 0 takes the most probable token always; 1 draws as predicted
   * @param topK draws from this many tokens; 0 for no limit
   * @param topP draws from the fewest tokens whose probabilities reach this; 1 for no limit
   * @param presencePenalty taken from the logits of tokens that the text has; 0 for none
   * @param frequencyPenalty taken from the logits of tokens for every time the text has them
   * @param seed of the draws: the same seed gives the same text
   */
  public record Sampling(
      double temperature,
      int topK,
      double topP,
      double presencePenalty,
      double frequencyPenalty,
      long seed) {
    /** The most probable token always. */
    public static final Sampling GREEDY = new Sampling(0, 0, 1, 0, 0, 0);

    /** Refuses what has no meaning. */
    public Sampling {
      params(temperature, topK, topP, presencePenalty, frequencyPenalty);
    }

    Sampler sampler() {
      return equals(GREEDY) ? Sampler.greedy() : new RandomSampler(params(), seed);
    }

    Sampler sampler(TokenConstraint constraint) {
      return new RandomSampler(params().withConstraint(constraint), seed);
    }

    private SamplingParams params() {
      return params(temperature, topK, topP, presencePenalty, frequencyPenalty);
    }

    private static SamplingParams params(
        double temperature, int topK, double topP, double presence, double frequency) {
      return SamplingParams.AS_PREDICTED
          .with(SamplingSetting.TEMPERATURE, temperature)
          .with(SamplingSetting.TOP_K, topK)
          .with(SamplingSetting.TOP_P, topP)
          .with(SamplingSetting.PRESENCE_PENALTY, presence)
          .with(SamplingSetting.FREQUENCY_PENALTY, frequency);
    }
  }

  public Decoding {
    stop = List.copyOf(stop);
    if (maxTokens < 1) {
      throw new SettingException("max-tokens", maxTokens + " is below 1; use 1 or more");
    }
    if (stop.contains("")) {
      throw new SettingException("stop", "is empty; give the text at which to stop");
    }
  }

  /** The full model's text as fast as drafts allow; for every model. */
  public static Decoding lossless() {
    return of(org.eellm.decode.request.DecodingMethod.lossless());
  }

  /** The full model, with no exit computed. */
  public static Decoding full() {
    return of(org.eellm.decode.request.DecodingMethod.full());
  }

  /**
   * A token leaves at the first exit whose largest probability reaches a threshold; for models with
   * exits.
   *
   * @param value from 0, everything leaves at the first exit, to 1
   * @throws SettingException if it is no such number
   */
  public static Decoding threshold(double value) {
    if (!(value >= 0 && value <= 1)) {
      throw new SettingException("threshold", value + " is no probability; use 0 to 1");
    }
    return policy(ExitPolicies.maxProbability(Threshold.of(value)));
  }

  /**
   * A token leaves as a file says that {@code eellm calibrate} wrote; the model's own is {@link
   * EarlyExitModel#calibrated}.
   *
   * @throws IOException if it cannot be read
   * @throws org.eellm.config.ConfigException if it is no such file
   */
  public static Decoding calibrated(Path file) throws IOException {
    return policy(Calibration.read(file).policy());
  }

  /** A token leaves as a policy of one's own says. */
  public static Decoding policy(ExitPolicy policy) {
    return of(new org.eellm.decode.request.DecodingMethod.EarlyExit(policy));
  }

  /** Any of the engine's methods, with {@link Sampling#GREEDY} and no stop text. */
  public static Decoding of(org.eellm.decode.request.DecodingMethod method) {
    return new Decoding(method, MAX_TOKENS, Sampling.GREEDY, List.of(), "", Optional.empty());
  }

  /** A copy with another greatest length. */
  public Decoding withMaxTokens(int count) {
    return new Decoding(method, count, sampling, stop, adapter, grammar);
  }

  /** A copy with stop texts. */
  public Decoding withStop(String... texts) {
    return withStop(List.of(texts));
  }

  /** A copy with stop texts. */
  public Decoding withStop(List<String> texts) {
    return new Decoding(method, maxTokens, sampling, texts, adapter, grammar);
  }

  /** A copy for another adapter, by its name. */
  public Decoding withAdapter(String name) {
    return new Decoding(method, maxTokens, sampling, stop, name, grammar);
  }

  /**
   * A copy whose text is held to a grammar: no other can be written, unless {@link #maxTokens} cut
   * it off.
   */
  public Decoding withGrammar(GrammarSource source) {
    return new Decoding(method, maxTokens, sampling, stop, adapter, Optional.of(source));
  }

  /** A copy with another sampling. */
  public Decoding withSampling(Sampling other) {
    return new Decoding(method, maxTokens, other, stop, adapter, grammar);
  }

  /** A copy with another {@link Sampling#temperature}. */
  public Decoding withTemperature(double temperature) {
    return withSampling(RecordCopy.with(sampling, "temperature", temperature));
  }

  /** A copy with another {@link Sampling#topK}. */
  public Decoding withTopK(int count) {
    return withSampling(RecordCopy.with(sampling, "topK", count));
  }

  /** A copy with another {@link Sampling#topP}. */
  public Decoding withTopP(double sum) {
    return withSampling(RecordCopy.with(sampling, "topP", sum));
  }

  /** A copy with another {@link Sampling#seed}. */
  public Decoding withSeed(long seed) {
    return withSampling(RecordCopy.with(sampling, "seed", seed));
  }
}
