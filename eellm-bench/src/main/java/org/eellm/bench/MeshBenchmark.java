package org.eellm.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import org.eellm.config.ExitsConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.cost.Median;
import org.eellm.cost.plan.RunSchedules;
import org.eellm.data.SampleSource;
import org.eellm.distributed.World;
import org.eellm.tensor.Torch;
import org.eellm.train.StepRunner;
import org.eellm.train.TrainState;
import org.eellm.train.metrics.Trace;

/**
 * Times training steps of a mesh on random tokens. Two others take turns with it, so that the
 * ratios hold where the machine's speed drifts: the same mesh without exits, and one rank alone
 * that does what a replica of the mesh does, while the other ranks wait. Each takes two steps in a
 * row, of which the second counts, as training takes many.
 */
public final class MeshBenchmark {
  /**
   * A model's steps.
   *
   * @param exits layers of its exits
   * @param stepSeconds median
   * @param waiting share of a step's time that ranks waited for other stages; median
   */
  public record Variant(
      List<Integer> exits, double stepSeconds, double tokensPerSecond, double waiting) {}

  /**
   * What the mesh is measured against.
   *
   * @param exitTime what the exits add to a step's time: median of the rounds' ratios, less 1
   * @param speedUp of the mesh over the lone rank, in tokens a second: median of the rounds' ratios
   * @param limit of the speed-up: ranks, less the bubble of stages of equal cost
   */
  public record Comparison(
      Variant withoutExits, Variant alone, double exitTime, double speedUp, double limit) {}

  /**
   * What was measured, the same on every rank.
   *
   * @param threads of each rank
   * @param microbatches of a replica in a step
   * @param bubble share of a step in which stages of equal cost have nothing to do, fills apart
   * @param memory resident bytes of each rank, of all models measured here
   * @param comparison absent where only the mesh was measured
   */
  public record Report(
      String mesh,
      int ranks,
      int threads,
      int rounds,
      int microbatches,
      double bubble,
      List<Long> memory,
      Variant measured,
      Optional<Comparison> comparison) {}

  private MeshBenchmark() {}

  /**
   * Measures the configuration's mesh at its microbatch and global batch size. Every rank calls
   * this.
   *
   * @param rounds steps of each model that count, after a warm-up
   * @param compared whether the two others are measured too; their memory counts as well
   */
  public static Report run(RunConfig config, World world, int rounds, boolean compared) {
    if (config.train().threads() > 0) {
      Torch.setThreads(config.train().threads());
    }
    ParallelConfig parallel = config.parallel();
    int microbatches =
        config.train().globalBatchSize() / (config.train().microBatchSize() * parallel.dp());
    double bubble = RunSchedules.of(config).bubbleShare(microbatches);
    try (BenchmarkRun mesh = new BenchmarkRun(config, world);
        Others others = compared ? Others.of(config, world) : Others.none()) {
      Times times = new Times(rounds);
      List<Long> memory = List.of();
      for (int round = -TrainBenchmark.WARMUP; round < rounds; round++) {
        int number = round;
        memory = times.mesh().take(number, mesh).memory();
        others.plain().ifPresent(run -> times.plain().take(number, run));
        if (compared) {
          world.all().barrier();
          others.alone().ifPresent(run -> times.alone().take(number, run));
          world.all().barrier();
        }
      }
      int tokens = config.train().globalBatchSize() * config.data().sequenceLength();
      Variant measured = times.mesh().variant(config, tokens);
      return new Report(
          world.mesh().toString(),
          world.mesh().size(),
          Torch.threads(),
          rounds,
          microbatches,
          bubble,
          memory,
          measured,
          compared && world.rank() == 0
              ? Optional.of(times.compare(config, tokens, world.mesh().size() * (1 - bubble)))
              : Optional.empty());
    }
  }

  /** The seconds and waiting of a model's steps, by round. */
  private record Steps(double[] seconds, double[] waiting) {
    Steps(int rounds) {
      this(new double[rounds], new double[rounds]);
    }

    /** Takes two steps, and times the second: a rank that has waited for others begins slowly. */
    StepRunner.Result take(int round, BenchmarkRun run) {
      run.step();
      long start = System.nanoTime();
      StepRunner.Result result = run.step();
      if (round >= 0) {
        seconds[round] = (System.nanoTime() - start) / 1e9;
        waiting[round] = result.waiting();
      }
      return result;
    }

    Variant variant(RunConfig config, int tokens) {
      double median = Median.of(seconds);
      return new Variant(config.exits().layers(), median, tokens / median, Median.of(waiting));
    }
  }

  private record Times(Steps mesh, Steps plain, Steps alone) {
    Times(int rounds) {
      this(new Steps(rounds), new Steps(rounds), new Steps(rounds));
    }

    Comparison compare(RunConfig config, int tokens, double limit) {
      int rounds = mesh.seconds().length;
      int replicas = config.parallel().dp();
      double[] exitTimes = new double[rounds];
      double[] speedUps = new double[rounds];
      Arrays.setAll(exitTimes, round -> mesh.seconds()[round] / plain.seconds()[round]);
      Arrays.setAll(speedUps, round -> replicas * alone.seconds()[round] / mesh.seconds()[round]);
      return new Comparison(
          plain.variant(withoutExits(config), tokens),
          alone.variant(config, tokens / replicas),
          Median.of(exitTimes) - 1,
          Median.of(speedUps),
          limit);
    }
  }

  /**
   * What takes turns with the mesh.
   *
   * @param alone on the first rank only
   */
  private record Others(Optional<BenchmarkRun> plain, Optional<BenchmarkRun> alone)
      implements AutoCloseable {
    static Others none() {
      return new Others(Optional.empty(), Optional.empty());
    }

    static Others of(RunConfig config, World world) {
      return new Others(
          Optional.of(new BenchmarkRun(withoutExits(config), world)),
          world.rank() == 0
              ? Optional.of(new BenchmarkRun(replica(config), World.singleRank()))
              : Optional.empty());
    }

    @Override
    public void close() {
      plain.ifPresent(BenchmarkRun::close);
      alone.ifPresent(BenchmarkRun::close);
    }
  }

  private static RunConfig withoutExits(RunConfig config) {
    return config.withExits(ExitsConfig.none());
  }

  /** What one replica of the mesh does, for a single rank. */
  private static RunConfig replica(RunConfig config) {
    int share = config.train().globalBatchSize() / config.parallel().dp();
    return config.with(ParallelConfig.singleRank(), config.train().withConstantBatch(share));
  }

  /** Tokens that depend on the sample's number alone. */
  private record RandomTokens(int sequenceLength, int vocabulary) implements SampleSource {
    @Override
    public long samplesPerEpoch() {
      return Long.MAX_VALUE;
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      SplittableRandom random = new SplittableRandom(index);
      for (int i = 0; i <= sequenceLength; i++) {
        into[offset + i] = random.nextInt(vocabulary);
      }
    }
  }

  /** A model in training. */
  static final class BenchmarkRun implements AutoCloseable {
    private final TrainState state;
    private final StepRunner runner;
    private long step;

    BenchmarkRun(RunConfig config, World world) {
      state = TrainState.initial(config, world);
      runner =
          new StepRunner(
              config,
              new RandomTokens(config.data().sequenceLength(), config.model().vocabSize()),
              state,
              world,
              new Trace.Off());
    }

    StepRunner.Result step() {
      step++;
      return runner.trainStep(step);
    }

    /** Updates once more with the last step's gradients. */
    void update() {
      runner.update(step);
    }

    /** Parameters of this rank. */
    long parameters() {
      return state.model().parameters().count();
    }

    @Override
    public void close() {
      runner.close();
      state.close();
    }
  }
}
