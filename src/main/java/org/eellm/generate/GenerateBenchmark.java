package org.eellm.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.Set;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.tensor.Rates;
import org.eellm.tensor.Torch;

/**
 * Times decoding with random weights: the full model, and every token forced out at each exit in
 * turn, beside the machine's rate of reading memory. The modes take turns, so that their ratios
 * hold where the machine's speed drifts.
 */
public final class GenerateBenchmark {
  private static final int PROMPT = 16;
  private static final double MEMORY_SECONDS = 0.2;

  /**
   * Decoding in one mode.
   *
   * @param head the head that all tokens leave at
   * @param layer its layer
   * @param tokensPerSecond of all sequences together, median of the rounds; prefill not counted
   * @param bytesPerToken weights read for one block: the layers run and the head
   * @param readBytesPerSecond the weights' read rate that this is
   * @param speedup over the full model, median of the rounds
   * @param ideal the full model's bytes over this mode's
   * @param shareOfIdeal speedup over ideal
   */
  public record Mode(
      String head,
      int layer,
      double tokensPerSecond,
      long bytesPerToken,
      double readBytesPerSecond,
      double speedup,
      double ideal,
      double shareOfIdeal) {}

  /**
   * What was measured.
   *
   * @param dtype number format of the matrices
   * @param memoryBytesPerSecond median of the rounds
   * @param batch sequences at once
   * @param tokens of each sequence
   */
  public record Report(
      String dtype,
      int threads,
      int rounds,
      int batch,
      int tokens,
      double memoryBytesPerSecond,
      List<Mode> modes) {}

  private GenerateBenchmark() {}

  /**
   * Measures the configuration's model.
   *
   * @param quantization of its matrices
   * @param rounds of all modes, after a warm-up
   * @param batch sequences at once
   * @param tokens of each sequence
   */
  public static Report run(
      RunConfig config, Quantization quantization, int rounds, int batch, int tokens) {
    TrainConfig train = config.train();
    Torch.setThreads(train.threads());
    Device device =
        switch (train.device()) {
          case CPU -> Torch.cpu();
          case CUDA -> Torch.cuda();
        };
    try (Decoder model = Decoder.allocate(config.architecture(), quantization, device)) {
      model.initialize(train.seed());
      Limits limits = Limits.of(model).withBatchSize(batch);
      double[] memory = new double[rounds];
      List<Head> heads = model.allHeads();
      double[][] rates = new double[heads.size()][rounds];
      for (int round = -1; round < rounds; round++) {
        double read = Rates.memory(device, MEMORY_SECONDS);
        for (int h = 0; h < heads.size(); h++) {
          double rate = decode(model, limits, heads.get(h), batch, tokens, train.seed());
          if (round >= 0) {
            memory[round] = read;
            rates[h][round] = rate;
          }
        }
      }
      List<Mode> modes = new ArrayList<>();
      for (int h = 0; h < heads.size(); h++) {
        modes.add(mode(model, heads.get(h), rates[h], rates[heads.size() - 1], batch));
      }
      return new Report(
          dtype(config, quantization),
          Torch.threads(),
          rounds,
          batch,
          tokens,
          median(memory),
          modes);
    }
  }

  private static Mode mode(
      Decoder model, Head head, double[] rates, double[] fullRates, int batch) {
    Head last = model.allHeads().getLast();
    double[] speedups = new double[rates.length];
    Arrays.setAll(speedups, round -> rates[round] / fullRates[round]);
    double rate = median(rates);
    long bytes = bytes(model, head);
    double speedup = median(speedups);
    double ideal = (double) bytes(model, last) / bytes;
    return new Mode(
        head.name(),
        head.layer(),
        rate,
        bytes,
        bytes * rate / batch,
        speedup,
        ideal,
        speedup / ideal);
  }

  /** Tokens a second after the first token of each sequence. */
  private static double decode(
      Decoder model, Limits limits, Head head, int batch, int tokens, long seed) {
    ExitPolicy policy =
        head.equals(model.allHeads().getLast())
            ? ExitPolicies.full()
            : ExitPolicies.fixed(head.layer());
    Random random = new Random(seed);
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < batch; i++) {
      List<Integer> prompt =
          random.ints(PROMPT, 0, model.architecture().model().vocabSize()).boxed().toList();
      requests.add(new Request(prompt, tokens, Set.of(), policy, Sampler.greedy()));
    }
    List<Result> results = Generator.generate(model, limits, requests, TokenListener.none());
    Result longest = results.getLast();
    return batch * (tokens - 1) / (longest.seconds() - longest.firstTokenSeconds());
  }

  /** Weights that a token reads on its way to a head and in it. */
  private static long bytes(Decoder model, Head head) {
    String layers = "model.layers.";
    long bytes = 0;
    for (var parameter : model.parameters().all()) {
      String name = parameter.name();
      boolean below =
          name.startsWith(layers)
              && Integer.parseInt(name.substring(layers.length()).split("\\.", 2)[0])
                  < head.layer();
      boolean own =
          head.equals(model.allHeads().getLast())
              ? name.startsWith("model.norm")
              : name.startsWith("exits." + head.layer() + ".") && !name.contains("lm_head");
      bytes += below || own ? bytes(parameter.value()) : 0;
    }
    return bytes + bytes(model.heads().get(head.index()).output().value());
  }

  private static String dtype(RunConfig config, Quantization quantization) {
    Enum<?> format =
        switch (quantization) {
          case NONE -> config.model().dtype();
          case INT8 -> quantization;
        };
    return format.name().toLowerCase(Locale.ROOT);
  }

  private static long bytes(Tensor tensor) {
    return tensor.numel() * tensor.element_size();
  }

  /** The middle value; of an even number, the upper of the two. */
  static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }
}
