package org.eellm.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.OptionalDouble;
import java.util.Random;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig;
import org.eellm.cost.Median;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.ParameterCount;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.Dropout;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.LayerDropout;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor;
import org.eellm.train.optimizer.AdamW;
import org.eellm.train.optimizer.Optimizer;

/**
 * Times training steps on random tokens, with and without the exits, beside the machine's own rate
 * of matrix products. The three take turns, so that their ratios hold where the machine's speed
 * drifts.
 */
public final class TrainBenchmark {
  private static final double GEMM_SECONDS = 0.3;

  /** Rounds until the JVM has compiled the training step. */
  static final int WARMUP = 8;

  /**
   * A model's steps.
   *
   * @param exits layers of its exits
   * @param stepSeconds median
   * @param flopsPerSecond model FLOPs ({@link ModelFlops}) over the median
   * @param shareOfGemm that over the median rate of matrix products
   */
  public record Variant(
      List<Integer> exits,
      double stepSeconds,
      double tokensPerSecond,
      double flopsPerSecond,
      double shareOfGemm) {}

  /**
   * What was measured.
   *
   * @param parameters of the model with exits
   * @param tokensPerStep microbatch times sequence length
   * @param gemmFlopsPerSecond median of the rounds, in the model's number format
   * @param exitTime what the exits add to a step's time: median of the rounds' ratios, less 1
   * @param exitFlops what they add to its FLOPs
   * @param dropoutTime what dropout adds to a step's time; absent where the model has none
   */
  public record Report(
      String dtype,
      int threads,
      int rounds,
      long parameters,
      int tokensPerStep,
      double gemmFlopsPerSecond,
      Variant withExits,
      Variant withoutExits,
      double exitTime,
      double exitFlops,
      OptionalDouble dropoutTime) {}

  private TrainBenchmark() {}

  /**
   * Measures the configuration's model at its microbatch size, one microbatch a step.
   *
   * @param rounds steps of each model, after a warm-up
   */
  public static Report run(RunConfig config, int rounds) {
    Torch.setThreads(config.train().threads());
    Device device = device(config.train());
    ScalarType type = Decoder.scalarType(config.model().dtype());
    Architecture plain = new Architecture(config.model(), ExitLayout.none());
    double[] gemm = new double[rounds];
    double[] with = new double[rounds];
    double[] without = new double[rounds];
    double[] undropped = new double[rounds];
    boolean drops = config.model().hiddenDropout() > 0 || config.model().attentionDropout() > 0;
    Architecture keeping =
        new Architecture(
            config.model().toBuilder().hiddenDropout(0).attentionDropout(0).build(),
            config.architecture().exits());
    try (BenchmarkRun exits =
            new BenchmarkRun(config, config.architecture(), Learning.EVERYTHING, device);
        BenchmarkRun control = new BenchmarkRun(config, plain, Learning.EVERYTHING, device);
        BenchmarkRun kept = new BenchmarkRun(config, keeping, Learning.EVERYTHING, device)) {
      for (int round = -WARMUP; round < rounds; round++) {
        double rate = DeviceThroughput.gemm(type, device, GEMM_SECONDS);
        double exitSeconds = exits.step();
        double keptSeconds = drops ? kept.step() : exitSeconds;
        double controlSeconds = control.step();
        if (round >= 0) {
          gemm[round] = rate;
          with[round] = exitSeconds;
          without[round] = controlSeconds;
          undropped[round] = keptSeconds;
        }
      }
    }
    double rate = Median.of(gemm);
    int count = config.exits().layers().size();
    ModelFlops flops = ModelFlops.perToken(config.architecture(), config.data().sequenceLength());
    int tokens = config.train().microBatchSize() * config.data().sequenceLength();
    return new Report(
        type.toString().toLowerCase(java.util.Locale.ROOT),
        Torch.threads(),
        rounds,
        ParameterCount.of(config.architecture()).total(),
        tokens,
        rate,
        variant(config.exits().layers(), Median.of(with), tokens, flops.total(count), rate),
        variant(List.of(), Median.of(without), tokens, flops.total(0), rate),
        added(with, without),
        flops.total(count) / flops.total(0) - 1,
        drops ? OptionalDouble.of(added(with, undropped)) : OptionalDouble.empty());
  }

  /** What steps take longer than others: median of the rounds' ratios, less 1. */
  private static double added(double[] seconds, double[] others) {
    double[] ratios = new double[seconds.length];
    Arrays.setAll(ratios, round -> seconds[round] / others[round]);
    return Median.of(ratios) - 1;
  }

  static Device device(TrainConfig train) {
    return switch (train.device()) {
      case CPU -> Torch.cpu();
      case CUDA -> Torch.cuda();
    };
  }

  private static Variant variant(
      List<Integer> exits, double seconds, int tokens, double flopsPerToken, double gemm) {
    double rate = tokens * flopsPerToken / seconds;
    return new Variant(exits, seconds, tokens / seconds, rate, rate / gemm);
  }

  /** A model in training. */
  static final class BenchmarkRun implements AutoCloseable {
    private final RunConfig config;
    private final Decoder model;
    private final Gradients gradients;
    private final Optimizer optimizer;
    private final StageExecutor executor;
    private final HeadTuningExecutor headExecutor;
    private final Objective objective;
    private final Microbatch batch;
    private int step;

    BenchmarkRun(RunConfig config, Architecture architecture, Learning learning, Device device) {
      this.config = config;
      int sequence = config.data().sequenceLength();
      ParallelConfig alone = ParallelConfig.singleRank();
      Slice slice = StageLayout.of(architecture, alone, sequence, learning).slices().getFirst();
      model =
          Decoder.allocate(
              architecture, learning, Quantization.NONE, DecoderShard.of(slice), device);
      model.initialize(config.train().seed());
      gradients = new Gradients(model.parameters());
      optimizer = Optimizer.of(model.parameters(), config.optimizer());
      TrainConfig train = config.train();
      executor = new StageExecutor(model, train.recompute());
      headExecutor = new HeadTuningExecutor(model, model.stages().getFirst());
      int exits = architecture.exits().layers().size();
      List<Double> weights = new ArrayList<>(Collections.nCopies(exits, 0.3));
      weights.add(learning == Learning.EVERYTHING ? 1.0 : 0.0);
      List<Double> temperatures = Collections.nCopies(weights.size(), 1.0);
      objective =
          new Objective(
              weights,
              temperatures,
              config.exits().dynamicTokenWeights(),
              config.exits().distillation());
      batch = randomTokens(config);
    }

    private static Microbatch randomTokens(RunConfig config) {
      Random random = new Random(config.train().seed());
      int batch = config.train().microBatchSize();
      int sequence = config.data().sequenceLength();
      int vocabulary = config.model().vocabSize();
      int[] inputs = random.ints((long) batch * sequence, 0, vocabulary).toArray();
      int[] targets = random.ints((long) batch * sequence, 0, vocabulary).toArray();
      float[] mask = new float[inputs.length];
      Arrays.fill(mask, 1);
      return new Microbatch(batch, sequence, inputs, targets, mask, new int[mask.length]);
    }

    /** What is trained. */
    Decoder model() {
      return model;
    }

    /** Takes a whole step, clipping and update included; its seconds. */
    double step() {
      long start = System.nanoTime();
      step++;
      gradients.start();
      forwardBackward();
      gradients.finish();
      double norm = AdamW.norm(gradients); // Reading it waits for the device.
      double clip = AdamW.clipScale(norm, config.optimizer().clipNorm());
      optimizer.update(gradients, clip, config.optimizer().learningRate(), step);
      Torch.synchronize(model.device());
      return (System.nanoTime() - start) / 1e9;
    }

    private void forwardBackward() {
      try (Scope scope = Scope.open()) {
        switch (model.learning()) {
          case EVERYTHING -> executor.forwardBackward(batch, objective, 1, dropout(), gradients);
          case EXITS -> headExecutor.tune(batch, Received.NOTHING, objective, 1, gradients);
          case EXITS_FROM_FINAL_HEAD -> {
            try (HeadTuningExecutor.TapActivations taps =
                headExecutor.forward(batch, Received.NOTHING)) {
              taps.distill(taps.output(), objective, 1, gradients);
            }
          }
        }
      }
    }

    /** Layers are skipped as often as in the run's last step. */
    private Dropout dropout() {
      TrainConfig train = config.train();
      return new Dropout.Keyed(
          Dropout.mix(train.seed(), step),
          LayerDropout.at(train, config.model().numLayers(), train.steps()));
    }

    /** Bytes of its weights, gradients and optimizer state. */
    long bytes() {
      long learned = model.parameters().count();
      long moments = optimizer.state().stream().mapToLong(piece -> piece.values().numel()).sum();
      long weights = learned + model.parameters().frozenCount();
      return weights * model.parameters().flat().element_size() + Float.BYTES * (learned + moments);
    }

    @Override
    public void close() {
      optimizer.close();
      gradients.close();
      model.close();
    }
  }
}
