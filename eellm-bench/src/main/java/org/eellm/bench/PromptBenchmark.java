package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import org.eellm.cost.Median;
import org.eellm.decode.Generator;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.DecodingModel;
import org.eellm.tensor.Torch;

/**
 * Times prompts in the full model with random weights: from the moment a prompt is scheduled to its
 * first token. The lengths take turns.
 */
public final class PromptBenchmark {
  /** Rounds before those that count, in which the kernels are compiled. */
  private static final int WARM_UP = 3;

  /**
   * Prompts of one length.
   *
   * @param tokens of a prompt
   * @param seconds to the first token, median of the rounds
   * @param tokensPerSecond of the prompt, at that time
   */
  public record Prompt(int tokens, double seconds, double tokensPerSecond) {}

  /**
   * Measurements of prompts.
   *
   * @param dtype number format of the model
   */
  public record Report(String dtype, int threads, int rounds, List<Prompt> prompts) {}

  private PromptBenchmark() {}

  /**
   * Measures the configuration's model.
   *
   * @param quantization of its matrices; on GPUs alike for all
   * @param lengths of prompts, in tokens
   * @param rounds of all lengths, after a warm-up
   */
  public static Report run(
      RunConfig config, MatrixQuantization quantization, List<Integer> lengths, int rounds) {
    return RandomModel.measure(
        config,
        quantization,
        model -> {
          List<Request> requests =
              requests(model, lengths, WARM_UP + rounds, config.train().seed());
          Limits limits = Limits.of(model).withBatchSize(1);
          List<Result> results = Generator.generate(model, limits, requests, TokenListener.none());
          List<Prompt> prompts = new ArrayList<>();
          for (int i = 0; i < lengths.size(); i++) {
            int length = lengths.get(i);
            double seconds = median(results, WARM_UP * lengths.size() + i, lengths.size());
            prompts.add(new Prompt(length, seconds, length / seconds));
          }
          return new Report(
              RandomModel.dtype(config, quantization), Torch.threads(), rounds, prompts);
        });
  }

  /** A prompt of each length, and so on. They are random, so that none goes on from another. */
  private static List<Request> requests(
      DecodingModel model, List<Integer> lengths, int rounds, long seed) {
    int vocabulary = model.architecture().model().vocabSize();
    Random random = new Random(seed);
    List<Request> requests = new ArrayList<>();
    for (int round = 0; round < rounds; round++) {
      for (int length : lengths) {
        List<Integer> prompt = random.ints(length, 0, vocabulary).boxed().toList();
        requests.add(new Request(prompt, 1, Set.of(), ExitPolicies.full(), Sampler.greedy()));
      }
    }
    return requests;
  }

  /** The middle time to the first token of every {@code step}-th result. */
  private static double median(List<Result> results, int first, int step) {
    List<Double> seconds = new ArrayList<>();
    for (int i = first; i < results.size(); i += step) {
      seconds.add(results.get(i).firstTokenSeconds());
    }
    return Median.of(seconds);
  }
}
