package org.eellm.spring;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.eellm.Decoding;
import org.eellm.EarlyExitModel;
import org.eellm.Pooling;
import org.eellm.chat.Overflow;
import org.eellm.config.Quantization;
import org.jspecify.annotations.Nullable;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * What an application says of its model, as {@code eellm.*}.
 *
 * @param model a model folder, a GGUF file, a checkpoint, or a run's output
 * @param heads a folder with other exits than the model's own
 * @param adapters folders of adapters that prompts may ask for, by the names that they ask with
 * @param quantization keeps the matrices in fewer bits
 * @param threads to compute with; 0 for one a core
 * @param batchSize texts that are written at once
 * @param maxQueued texts that may wait
 * @param cacheTokens tokens for whose keys and values there is room; by default as memory allows
 * @param warmUp how long the application may decode before it is ready, so that Java has compiled
 *     what does; 0 for not at all
 */
@ConfigurationProperties("eellm")
public record EellmProperties(
    Path model,
    @Nullable Path heads,
    @DefaultValue Map<String, Path> adapters,
    @Nullable Quantization quantization,
    @DefaultValue("0") int threads,
    @DefaultValue("8") int batchSize,
    @DefaultValue("1024") int maxQueued,
    @Nullable Integer cacheTokens,
    @DefaultValue("2s") Duration warmUp,
    @DefaultValue Chat chat,
    @DefaultValue Embedding embedding) {

  /** When a token leaves. */
  public enum Method {
    /** The full model's text, drafted by exits and by the text itself. */
    LOSSLESS,
    /** The full model alone. */
    FULL,
    /** At the first exit that is as sure as {@code threshold} says. */
    THRESHOLD,
    /** As the model's own calibration says. */
    CALIBRATED
  }

  /**
   * How answers are written, where a prompt says nothing else.
   *
   * @param method when a token leaves
   * @param threshold for the method of this name, from 0 to 1
   * @param maxTokens most tokens of an answer
   * @param temperature 0 takes the most probable token always
   * @param topK draws from this many tokens; 0 for no limit
   * @param topP draws from the fewest tokens whose probabilities reach this
   * @param seed of the draws: the same prompt has the same answer
   * @param stop texts that end an answer
   * @param overflow what becomes of chats that do not fit the model's context
   */
  public record Chat(
      @DefaultValue("lossless") Method method,
      @DefaultValue("0.8") double threshold,
      @DefaultValue("256") int maxTokens,
      @DefaultValue("0") double temperature,
      @DefaultValue("0") int topK,
      @DefaultValue("1") double topP,
      @DefaultValue("0") long seed,
      @DefaultValue List<String> stop,
      @DefaultValue("refuse") Overflow overflow) {

    Decoding decoding(EarlyExitModel model) {
      Decoding begun =
          switch (method) {
            case LOSSLESS -> Decoding.lossless();
            case FULL -> Decoding.full();
            case THRESHOLD -> Decoding.threshold(threshold);
            case CALIBRATED -> model.calibrated();
          };
      return begun
          .withMaxTokens(maxTokens)
          .withSampling(new Decoding.Sampling(temperature, topK, topP, 0, 0, seed))
          .withStop(stop);
    }
  }

  /**
   * How embeddings are made.
   *
   * @param layer whose hidden states they are, from 1; 0 for the last
   * @param pooling what is made of the tokens' states
   */
  public record Embedding(@DefaultValue("0") int layer, @DefaultValue("mean") Pooling pooling) {}

  EarlyExitModel load() {
    EarlyExitModel.Loading loading =
        EarlyExitModel.at(model).batchSize(batchSize).maxQueued(maxQueued);
    adapters.forEach(loading::adapter);
    if (heads != null) {
      loading.heads(heads);
    }
    if (quantization != null) {
      loading.quantized(quantization);
    }
    if (threads > 0) {
      loading.threads(threads);
    }
    if (cacheTokens != null) {
      loading.cacheTokens(cacheTokens);
    }
    EarlyExitModel loaded = loading.load();
    if (warmUp.isPositive()) {
      loaded.warmUp(warmUp);
    }
    return loaded;
  }
}
