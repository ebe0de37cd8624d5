package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.bench.Turns.Figure;
import org.eellm.config.ExitsConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.ModelFlops;
import org.eellm.cost.ParameterCount;
import org.eellm.cost.plan.RunSchedules;
import org.eellm.distributed.World;
import org.eellm.model.Decoder;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;

/**
 * Times training steps on random tokens, with and without the exits, in turns. On one rank the
 * machine's own rate of matrix products takes its turn, too; on a mesh a rank alone, which does
 * what a replica of the mesh does while the other ranks wait.
 */
public final class TrainBenchmark {
  private static final double GEMM_SECONDS = 0.3;

  /**
   * A model's steps.
   *
   * @param exits layers of its exits
   * @param stepSeconds median
   * @param flopsPerSecond model FLOPs ({@link ModelFlops}) of all ranks over the median
   * @param waiting share of a step's time that ranks waited for other stages; median
   */
  public record Variant(
      List<Integer> exits,
      double stepSeconds,
      double tokensPerSecond,
      double flopsPerSecond,
      double waiting) {}

  /**
   * The model's steps beside their references. Times are medians of the rounds' ratios.
   *
   * @param exitTime what the exits add to a step's time, as a part of the time without
   * @param exitFlops what they add to its FLOPs
   * @param dropoutTime what dropout adds to a step's time; absent where the model has none
   * @param gemmFlopsPerSecond of matrix products in the model's number format, median; absent on a
   *     mesh
   * @param alone a rank alone, and what follows, on a mesh
   * @param speedUp of the mesh over that rank, in tokens a second
   */
  public record Comparison(
      Variant withoutExits,
      double exitTime,
      double exitFlops,
      Optional<Double> dropoutTime,
      Optional<Double> gemmFlopsPerSecond,
      Optional<Variant> alone,
      Optional<Double> speedUp) {}

  /**
   * Measurements of training steps, the same on every rank.
   *
   * @param threads of each rank
   * @param parameters of the model with exits
   * @param microbatches of a replica in a step
   * @param bubble share of a step in which stages of equal cost have nothing to do, fills apart
   * @param limit of the speed-up: ranks, less the bubble of stages of equal cost
   * @param memory resident bytes of each rank, of all models measured here
   * @param comparison on the first rank, unless only the mesh was measured
   */
  public record Report(
      String dtype,
      String mesh,
      int threads,
      int rounds,
      long parameters,
      int microbatches,
      double bubble,
      double limit,
      List<Long> memory,
      Variant measured,
      Optional<Comparison> comparison) {}

  private final World world;
  private final Turns turns = new Turns();
  private final List<BenchmarkRun> runs = new ArrayList<>();

  /** A model in training, and what its steps took. */
  private record Steps(RunConfig config, BenchmarkRun run, Figure seconds, Figure waiting) {
    Variant variant() {
      int sequence = config.data().sequenceLength();
      double rate = config.train().globalBatchSize() * sequence / seconds.median();
      return new Variant(
          config.exits().layers(), seconds.median(), rate, rate * flops(config), waiting.median());
    }
  }

  private TrainBenchmark(World world) {
    this.world = world;
  }

  /**
   * Measures the configuration's model at its microbatch size: on one rank one microbatch a step,
   * on a mesh the global batch. Every rank calls this.
   *
   * @param rounds steps of each model that count, after a warm-up
   * @param compared whether the others are measured too; their memory counts as well
   */
  public static Report run(RunConfig config, World world, int rounds, boolean compared) {
    TrainBenchmark benchmark = new TrainBenchmark(world);
    try {
      return benchmark.measure(
          world.mesh().size() > 1 ? config : withBatch(config, config.train().microBatchSize()),
          rounds,
          compared);
    } finally {
      benchmark.runs.forEach(BenchmarkRun::close);
    }
  }

  private Report measure(RunConfig config, int rounds, boolean compared) {
    boolean isMesh = world.mesh().size() > 1;
    if (!isMesh || config.train().threads() > 0) {
      Torch.setThreads(config.train().threads());
    }
    Steps measured = add(config, world);
    Optional<Others> others = compared ? Optional.of(others(config)) : Optional.empty();
    turns.take(BenchmarkRun.WARMUP, rounds);
    int microbatches =
        config.train().globalBatchSize()
            / (config.train().microBatchSize() * config.parallel().dp());
    double bubble = RunSchedules.of(config).bubbleShare(microbatches);
    return new Report(
        config.model().dtype().name().toLowerCase(Locale.ROOT),
        world.mesh().toString(),
        Torch.threads(),
        rounds,
        ParameterCount.of(config.architecture()).total(),
        microbatches,
        bubble,
        world.mesh().size() * (1 - bubble),
        measured.run().last().memory(),
        measured.variant(),
        others.filter(_ -> world.rank() == 0).map(all -> all.comparison(measured)));
  }

  /** The references that take turns with a model; see {@link Comparison}. */
  private record Others(
      Steps plain, Optional<Steps> undropped, Optional<Figure> gemm, Optional<Steps> alone) {
    Comparison comparison(Steps measured) {
      return new Comparison(
          plain.variant(),
          measured.seconds().over(plain.seconds()) - 1,
          flops(measured.config()) / flops(plain.config()) - 1,
          undropped.map(kept -> measured.seconds().over(kept.seconds()) - 1),
          gemm.map(Figure::median),
          alone.map(Steps::variant),
          alone.map(
              one -> measured.config().parallel().dp() * one.seconds().over(measured.seconds())));
    }
  }

  private Others others(RunConfig config) {
    boolean isMesh = world.mesh().size() > 1;
    boolean drops = config.model().hiddenDropout() > 0 || config.model().attentionDropout() > 0;
    RunConfig keeping =
        config.withModel(config.model().toBuilder().hiddenDropout(0).attentionDropout(0).build());
    Steps plain = add(config.withExits(ExitsConfig.none()), world);
    Optional<Steps> undropped = drops ? Optional.of(add(keeping, world)) : Optional.empty();
    if (!isMesh) {
      ScalarType type = Decoder.scalarType(config.model().dtype());
      var device = config.train().device() == Device.CUDA ? Torch.cuda() : Torch.cpu();
      Figure gemm = turns.add(() -> DeviceThroughput.gemm(type, device, GEMM_SECONDS));
      return new Others(plain, undropped, Optional.of(gemm), Optional.empty());
    }
    turns.add(this::awaitAll);
    Optional<Steps> alone =
        world.rank() == 0
            ? Optional.of(add(replica(config), World.singleRank()))
            : Optional.empty();
    turns.add(this::awaitAll);
    return new Others(plain, undropped, Optional.empty(), alone);
  }

  private double awaitAll() {
    world.all().barrier();
    return 0;
  }

  /**
   * Adds a model to those that take turns. On a mesh each takes two steps in a row, of which the
   * second counts: a rank that has waited for others begins slowly.
   */
  private Steps add(RunConfig config, World of) {
    BenchmarkRun run = new BenchmarkRun(config, of);
    runs.add(run);
    if (world.mesh().size() > 1) {
      turns.add(run::step);
    }
    return new Steps(config, run, turns.add(run::step), turns.add(() -> run.last().waiting()));
  }

  /** The configuration of one replica of the mesh, on a single rank. */
  private static RunConfig replica(RunConfig config) {
    int share = config.train().globalBatchSize() / config.parallel().dp();
    return config.with(ParallelConfig.singleRank(), config.train().withConstantBatch(share));
  }

  private static RunConfig withBatch(RunConfig config, int size) {
    return config.with(config.parallel(), config.train().withConstantBatch(size));
  }

  /** Of the model and all its exits, for a token. */
  private static double flops(RunConfig config) {
    return ModelFlops.perToken(config.architecture(), config.data().sequenceLength())
        .total(config.exits().layers().size());
  }
}
