package org.eellm.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.Device;
import org.eellm.bench.TrainBenchmark.BenchmarkRun;
import org.eellm.config.Learning;
import org.eellm.config.RunConfig;
import org.eellm.cost.Median;
import org.eellm.tensor.Torch;

/**
 * Times steps that tune a model's exits beside steps that train the whole model, on random tokens.
 * They take turns, so that their ratios hold where the machine's speed drifts.
 */
public final class TuneBenchmark {

  /**
   * A way to learn.
   *
   * @param learning what learns
   * @param layers that are loaded
   * @param stepSeconds median
   * @param timeOfTraining median over the rounds of its time over that of training everything
   * @param bytes of weights, gradients and optimizer state
   */
  public record Variant(
      String learning, int layers, double stepSeconds, double timeOfTraining, long bytes) {}

  /**
   * What was measured.
   *
   * @param exits layers of the exits
   * @param layers of the model
   */
  public record Report(
      String dtype,
      int threads,
      int rounds,
      int tokensPerStep,
      List<Integer> exits,
      int layers,
      List<Variant> variants) {}

  private TuneBenchmark() {}

  /**
   * Measures the configuration's model at its microbatch size, one microbatch a step.
   *
   * @param rounds steps of each kind, after a warm-up
   */
  public static Report run(RunConfig config, int rounds) {
    Torch.setThreads(config.train().threads());
    Device device = TrainBenchmark.device(config.train());
    Map<Learning, double[]> seconds = new EnumMap<>(Learning.class);
    Map<Learning, Long> bytes = new EnumMap<>(Learning.class);
    Map<Learning, BenchmarkRun> runs = new EnumMap<>(Learning.class);
    try {
      for (Learning learning : Learning.values()) {
        BenchmarkRun run = new BenchmarkRun(config, config.architecture(), learning, device);
        runs.put(learning, run);
        seconds.put(learning, new double[rounds]);
        bytes.put(learning, run.bytes());
      }
      for (int round = -TrainBenchmark.WARMUP; round < rounds; round++) {
        for (Map.Entry<Learning, BenchmarkRun> run : runs.entrySet()) {
          double taken = run.getValue().step();
          if (round >= 0) {
            seconds.getOrDefault(run.getKey(), new double[0])[round] = taken;
          }
        }
      }
    } finally {
      runs.values().forEach(BenchmarkRun::close);
    }
    double[] training = seconds.getOrDefault(Learning.EVERYTHING, new double[0]);
    List<Variant> variants = new ArrayList<>();
    seconds.forEach(
        (learning, taken) -> {
          double[] ratios = new double[rounds];
          Arrays.setAll(ratios, round -> taken[round] / training[round]);
          variants.add(
              new Variant(
                  learning.name().toLowerCase(Locale.ROOT),
                  learning.layers(config.architecture()),
                  Median.of(taken),
                  Median.of(ratios),
                  bytes.getOrDefault(learning, 0L)));
        });
    return new Report(
        config.model().dtype().name().toLowerCase(Locale.ROOT),
        Torch.threads(),
        rounds,
        config.train().microBatchSize() * config.data().sequenceLength(),
        config.exits().layers(),
        config.model().numLayers(),
        List.copyOf(variants));
  }
}
