package org.eellm.bench;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.Supplier;
import java.util.function.ToLongFunction;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import org.eellm.cost.Median;
import org.eellm.decode.Batch;
import org.eellm.decode.DecodeStats;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.request.Limits;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.ParameterName.Embedding;
import org.eellm.model.parameter.ParameterName.OfExit;
import org.eellm.model.parameter.ParameterName.OfFinalNorm;
import org.eellm.model.parameter.ParameterName.OfLayer;
import org.eellm.model.parameter.ParameterName.OutputMatrix;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;

/**
 * Times decoding with random weights: what rows cost in steps of the full model, and texts with
 * every token forced out at each head. All of it takes turns, so that ratios hold where the
 * machine's speed drifts.
 */
public final class DecodeBenchmark {
  private static final double MEMORY_SECONDS = 0.2;
  private static final int WARM_UP_ROUNDS = 2;

  /**
   * What to measure.
   *
   * @param rounds of all, after a warm-up
   * @param batches numbers of texts at once
   * @param tokens of each text
   * @param shapes of steps, those of one row first
   */
  public record Plan(int rounds, List<Integer> batches, int tokens, List<StepShape> shapes) {
    public Plan {
      batches = List.copyOf(batches);
      shapes = List.copyOf(shapes);
    }
  }

  /**
   * Decoding in one mode.
   *
   * @param batch texts at once
   * @param head the head that all tokens leave at
   * @param layer its layer
   * @param tokensPerSecond of all texts together, median of the rounds; prompts not counted
   * @param bytesPerToken weights read for one block: the layers run and the head
   * @param readBytesPerSecond the weights' read rate that this is
   * @param speedup over the full model, median of the rounds
   * @param ideal the full model's bytes over this mode's
   * @param shareOfIdeal speedup over ideal
   */
  public record Mode(
      int batch,
      HeadId head,
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
   * @param tokens of each text
   * @param readBytesPerSecond of the weights by the same threads; of memory where libtorch computes
   * @param costs absent where libtorch computes
   */
  public record Report(
      String dtype,
      int threads,
      int rounds,
      int tokens,
      double readBytesPerSecond,
      Optional<DecodeCostReport> costs,
      List<Mode> modes) {}

  private DecodeBenchmark() {}

  /**
   * Measures the configuration's model.
   *
   * @param quantization of its matrices; on GPUs alike for all
   */
  public static Report run(RunConfig config, MatrixQuantization quantization, Plan plan) {
    return RandomModel.measure(
        config,
        quantization,
        model -> run(model, config.train().seed(), plan, RandomModel.dtype(config, quantization)));
  }

  private static Report run(DecodingModel model, long seed, Plan plan, String dtype) {
    int most = plan.batches().stream().max(Comparator.naturalOrder()).orElseThrow();
    int pages = Math.max(ForcedDecoding.pages(most, plan.tokens()), StepTimer.pages(plan.shapes()));
    Limits limits = Limits.of(model).withBatchSize(most);
    ModelRunner runner = Backends.runner(model, limits.vocabulary(), pages);
    try (Batch batch = new Batch(runner, limits)) {
      ForcedDecoding texts = new ForcedDecoding(model, batch, seed);
      if (runner instanceof KernelRunner kernels) {
        try (CostRounds costs = new CostRounds(kernels, plan.shapes())) {
          Measures measures =
              new Measures(
                  costs::round,
                  head -> kernels.trunkBytes(head.layer()) + kernels.headBytes(head),
                  () -> Optional.of(costs.costs()));
          return run(texts, plan, dtype, measures);
        }
      }
      Decoder decoder = (Decoder) model;
      Measures measures =
          new Measures(
              _ -> DeviceThroughput.memory(decoder.device(), MEMORY_SECONDS),
              head -> bytes(decoder, head),
              Optional::empty);
      return run(texts, plan, dtype, measures);
    }
  }

  /**
   * What a round measures beside texts.
   *
   * @param read the rate at which weights are read, in bytes a second; told whether the round
   *     counts
   * @param bytes of weights that a token reads in the layers below a head and in the head
   * @param costs what the rounds came to
   */
  private record Measures(
      Function<Boolean, Double> read,
      ToLongFunction<Head> bytes,
      Supplier<Optional<DecodeCostReport>> costs) {}

  /** A batch size, and the head that all tokens leave at. */
  private record DecodeCase(int batch, Head head) {}

  private static Report run(ForcedDecoding texts, Plan plan, String dtype, Measures measures) {
    DecodingModel model = texts.model();
    List<DecodeCase> cases = new ArrayList<>();
    for (int batch : plan.batches()) {
      model.allHeads().forEach(head -> cases.add(new DecodeCase(batch, head)));
    }
    Map<DecodeCase, List<DecodeStats>> stats = new HashMap<>();
    cases.forEach(decodeCase -> stats.put(decodeCase, new ArrayList<>()));
    List<Double> reads = new ArrayList<>();
    for (int round = -WARM_UP_ROUNDS; round < plan.rounds(); round++) {
      boolean counts = round >= 0;
      double read = measures.read().apply(counts);
      for (DecodeCase decodeCase : cases) {
        DecodeStats took =
            texts.run(decodeCase.head(), decodeCase.batch(), plan.tokens()).withReadRate(read);
        if (counts) {
          of(stats, decodeCase).add(took);
        }
      }
      if (counts) {
        reads.add(read);
      }
    }
    Head full = model.allHeads().getLast();
    List<Mode> modes = new ArrayList<>();
    for (DecodeCase decodeCase : cases) {
      modes.add(
          mode(
              measures,
              decodeCase,
              of(stats, decodeCase),
              of(stats, new DecodeCase(decodeCase.batch(), full)),
              full));
    }
    return new Report(
        dtype,
        Torch.threads(),
        plan.rounds(),
        plan.tokens(),
        Median.of(reads),
        measures.costs().get(),
        List.copyOf(modes));
  }

  private static List<DecodeStats> of(
      Map<DecodeCase, List<DecodeStats>> stats, DecodeCase decodeCase) {
    List<DecodeStats> found = stats.get(decodeCase);
    if (found == null) {
      throw new IllegalArgumentException("not measured: " + decodeCase);
    }
    return found;
  }

  private static Mode mode(
      Measures measures,
      DecodeCase decodeCase,
      List<DecodeStats> rounds,
      List<DecodeStats> full,
      Head last) {
    List<Double> rates = rounds.stream().map(DecodeStats::tokensPerSecond).toList();
    List<Double> speedups = new ArrayList<>();
    for (int round = 0; round < rates.size(); round++) {
      speedups.add(rates.get(round) / full.get(round).tokensPerSecond());
    }
    double rate = Median.of(rates);
    long bytes = measures.bytes().applyAsLong(decodeCase.head());
    double speedup = Median.of(speedups);
    double ideal = (double) measures.bytes().applyAsLong(last) / bytes;
    return new Mode(
        decodeCase.batch(),
        decodeCase.head().id(),
        decodeCase.head().layer(),
        rate,
        bytes,
        bytes * rate / decodeCase.batch(),
        speedup,
        ideal,
        speedup / ideal);
  }

  /** Weights that a token reads in the layers below a head and in the head. */
  private static long bytes(Decoder model, Head head) {
    long bytes = 0;
    for (var parameter : model.parameters().all()) {
      boolean read =
          switch (ParameterName.parse(parameter.name())) {
            case OfLayer below -> below.layer() < head.layer();
            case OfExit own ->
                head.id().equals(HeadId.exit(own.layer())) && !own.module().equals("lm_head");
            case OfFinalNorm _ -> !head.isExit();
            case Embedding _, OutputMatrix _ -> false;
          };
      bytes += read ? bytes(parameter.value()) : 0;
    }
    return bytes + bytes(model.heads().get(head.index()).output().value());
  }

  private static long bytes(Tensor tensor) {
    return tensor.numel() * tensor.element_size();
  }
}
