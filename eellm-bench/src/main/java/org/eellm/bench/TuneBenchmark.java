package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import org.eellm.bench.Turns.Figure;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.config.TuneConfig;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Target;
import org.eellm.distributed.World;
import org.eellm.tensor.Torch;

/**
 * Times steps that tune a model's exits, or low-rank changes of its trunk, in turns with steps that
 * train the whole model: a random one on random tokens, or the one that the configuration goes on
 * from on its data.
 */
public final class TuneBenchmark {
  private static final int RANK = 16;

  private static final List<Learning> WAYS =
      List.of(
          Learning.EVERYTHING,
          Learning.EXITS,
          Learning.EXITS_FROM_FINAL_HEAD,
          new Learning.Adapter(new Lora(RANK, 2 * RANK, 0, Set.of())));

  /**
   * A way to learn.
   *
   * @param learning what learns
   * @param layers that are loaded
   * @param stepSeconds median
   * @param fastestSeconds least of all rounds
   * @param slowestSeconds most of all rounds
   * @param timeOfTraining median over the rounds of its time over that of training everything
   * @param bytes of weights, gradients and optimizer state
   * @param loss of the final head, mean over the last quarter of the rounds; absent where it is not
   *     trained
   */
  public record Variant(
      String learning,
      int layers,
      double stepSeconds,
      double fastestSeconds,
      double slowestSeconds,
      double timeOfTraining,
      long bytes,
      OptionalDouble loss) {}

  /**
   * Measurements of all ways to learn.
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
    Turns turns = new Turns();
    List<BenchmarkRun> runs = new ArrayList<>();
    List<Figure> seconds = new ArrayList<>();
    List<Figure> losses = new ArrayList<>();
    try {
      for (Learning learning : WAYS) {
        BenchmarkRun run = new BenchmarkRun(with(config, learning), World.singleRank());
        runs.add(run);
        seconds.add(turns.add(run::step));
        losses.add(turns.add(() -> run.last().losses().getOrDefault(HeadId.FINAL, Double.NaN)));
      }
      turns.take(BenchmarkRun.WARMUP, rounds);
      List<Variant> variants = new ArrayList<>();
      for (int i = 0; i < WAYS.size(); i++) {
        Figure taken = seconds.get(i);
        variants.add(
            new Variant(
                name(WAYS.get(i)),
                WAYS.get(i).layers(config.architecture()),
                taken.median(),
                taken.least(),
                taken.most(),
                taken.over(seconds.getFirst()),
                runs.get(i).bytes(),
                losses.get(i).meanOfLastQuarter()));
      }
      return new Report(
          config.model().dtype().name().toLowerCase(Locale.ROOT),
          Torch.threads(),
          rounds,
          config.train().microBatchSize() * config.data().sequenceLength(),
          config.exits().layers(),
          config.model().numLayers(),
          variants);
    } finally {
      runs.forEach(BenchmarkRun::close);
    }
  }

  private static String name(Learning learning) {
    return switch (learning) {
      case Learning.Part part -> part.name().toLowerCase(Locale.ROOT);
      case Learning.Adapter(Lora lora) -> "lora of rank " + lora.rank();
    };
  }

  private static RunConfig with(RunConfig config, Learning learning) {
    TrainConfig train = config.train().withConstantBatch(config.train().microBatchSize());
    return config
        .with(ParallelConfig.singleRank(), train)
        .withTune(
            new TuneConfig(
                learning == Learning.EVERYTHING
                    ? Optional.empty()
                    : config.train().model().or(() -> Optional.of("random")),
                Optional.empty(),
                learning == Learning.EXITS_FROM_FINAL_HEAD ? Target.FINAL_HEAD : Target.TEXT,
                learning instanceof Learning.Adapter(Lora lora) ? lora : Lora.none()));
  }
}
