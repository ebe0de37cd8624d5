package org.eellm.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ConfigFile;
import org.eellm.config.DataType;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.Hardware;
import org.eellm.cost.Hardware.Connection;
import org.eellm.cost.Hardware.Link;
import org.eellm.cost.Hardware.MatrixRates;
import org.eellm.cost.Median;
import org.eellm.cost.plan.Planner;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.TrainException;

/**
 * Measures a machine for the planner, with as many ranks as a plan will have: all work at the same
 * time, so that each rate is what a rank gets of cores, caches and memory that others use as well.
 *
 * <p>Products, collectives and the update are timed by themselves. What elementwise operations
 * reach, and what a process takes beside its tensors, is what a small model's training steps leave
 * over when the rest is taken away.
 */
public final class HardwareBenchmark {
  /** The tokens of a small step. */
  private static final int ROWS = 1024;

  private static final List<Integer> WIDTHS = List.of(256, 512, 1024, 2048);

  /** Attention's products: heads, queries of a block, keys, head dimension. */
  private static final long HEADS = 32;

  private static final long QUERIES = 128;
  private static final long KEYS = 256;
  private static final long HEAD_DIM = 64;

  private static final long SMALL_BYTES = 16 << 10;
  private static final long LARGE_BYTES = 2 << 20;

  /** Repetitions before anything is timed, or fewer that take as long as what is timed. */
  private static final int WARMUP = 20;

  private static final int WARMUP_STEPS = 12;
  private static final int STEPS = 7;
  private static final int BLOCKS = 5;
  private static final double GIB = 1L << 30;

  /**
   * A rate of products {@code [rows, width] x [width, width]}.
   *
   * @param flopsPerSecond of each rank
   */
  public record Product(DataType dtype, int width, double flopsPerSecond) {}

  /**
   * Measurements of the hardware, the same on every rank.
   *
   * @param threads of each rank
   */
  public record Report(Hardware hardware, int ranks, int threads, List<Product> products) {}

  private final World world;
  private final double seconds;
  private final int rows;
  private final RunConfig config;

  private HardwareBenchmark(World world, double seconds, int rows, RunConfig config) {
    this.world = world;
    this.seconds = seconds;
    this.rows = rows;
    this.config = config;
  }

  /**
   * Measures the CPU that the ranks share. Every rank calls this.
   *
   * @param world of at least two ranks, on one machine
   * @param seconds how long to measure each rate
   * @param machineBytes memory of the machine
   * @throws TrainException if the machine was too busy with other things for figures that fit
   *     together
   */
  public static Report run(World world, double seconds, long machineBytes) {
    return run(world, seconds, machineBytes, ROWS, reference());
  }

  /** {@link #run(World, double, long)} with products of other rows and another model to train. */
  static Report run(World world, double seconds, long machineBytes, int rows, RunConfig reference) {
    return new HardwareBenchmark(world, seconds, rows, reference).run(machineBytes);
  }

  private Report run(long machineBytes) {
    int ranks = world.mesh().size();
    Steps steps = steps();
    List<Product> float32 = products(DataType.FLOAT32);
    List<Product> bfloat16 = products(DataType.BFLOAT16);
    Hardware first =
        new Hardware(
            "%d ranks of %d threads".formatted(ranks, Torch.threads()),
            Device.CPU,
            machineBytes / GIB / ranks,
            0,
            ranks,
            rates(float32, attention(DataType.FLOAT32)),
            rates(bfloat16, attention(DataType.BFLOAT16)),
            1,
            steps.updateBytesPerSecond() / 1e9,
            1e6 * operation(),
            new Connection(message(), collective()),
            Optional.empty(),
            false,
            Optional.empty());
    Hardware hardware = first.with(stream(first, steps.seconds()), 0);
    long counted = Planner.plan(config, hardware).fullest().memory().total();
    double base = Math.max(0, (steps.memory() - counted) / GIB);
    List<Product> products = Stream.concat(float32.stream(), bfloat16.stream()).toList();
    return new Report(
        hardware.with(hardware.streamGbPerSecond(), base), ranks, Torch.threads(), products);
  }

  /** A small model, unlike those that people plan. */
  private static RunConfig reference() {
    return ConfigFile.preset(
        "30m",
        List.of(
            "model.hidden_size=384",
            "model.num_heads=6",
            "model.ffn_hidden_size=1024",
            "model.num_layers=4",
            "exits.layers=[2]",
            "exits.weights=[0.3]",
            "train.micro_batch_size=2",
            "train.global_batch_size=8"));
  }

  /**
   * Of the reference's training, by each rank on its own.
   *
   * @param seconds of a step, median
   * @param memory resident bytes of the fullest rank
   */
  private record Steps(double seconds, double updateBytesPerSecond, long memory) {}

  private Steps steps() {
    try (BenchmarkRun run = new BenchmarkRun(config, World.singleRank())) {
      double[] times = new double[STEPS];
      for (int step = -WARMUP_STEPS; step < STEPS; step++) {
        world.all().barrier();
        double taken = run.step();
        if (step >= 0) {
          times[step] = taken;
        }
      }
      long resident = Torch.residentBytes();
      double update = time(run::update);
      return new Steps(
          mean(Median.of(times)),
          run.model().parameters().count() * Planner.updateBytes(config.model().dtype()) / update,
          (long) largest(resident));
    }
  }

  /** Elementwise operations in 1e9 bytes a second: what makes the plan of a step take its time. */
  private double stream(Hardware hardware, double measured) {
    // A plan's time is some constant plus some bytes over the rate.
    double slow = Planner.plan(config, hardware.with(1, 0)).time().total();
    double quick = Planner.plan(config, hardware.with(2, 0)).time().total();
    double gigabytes = 2 * (slow - quick);
    double rest = slow - gigabytes;
    if (measured <= rest) {
      throw new TrainException(
          ("a step of the reference model took %.3f s, and its matrix products alone should take"
                  + " %.3f; something else kept the machine busy: measure again")
              .formatted(measured, rest));
    }
    return gigabytes / (measured - rest);
  }

  private List<Product> products(DataType type) {
    return WIDTHS.stream().map(width -> product(type, width)).toList();
  }

  private Product product(DataType type, int width) {
    try (Scope scope = Scope.open()) {
      Tensor x = random(type, rows, width);
      Tensor weight = random(type, width, width);
      double time = time(() -> torch.linear(x, weight));
      return new Product(type, width, 2.0 * rows * width * width / time);
    }
  }

  /** Products of every width have the same weight, as if a model had all of them. */
  private static MatrixRates rates(List<Product> products, double attention) {
    double time =
        products.stream().mapToDouble(p -> 1 / p.flopsPerSecond()).average().orElseThrow();
    double peak = products.stream().mapToDouble(Product::flopsPerSecond).max().orElseThrow();
    return new MatrixRates(peak / 1e12, 1 / time / 1e12, attention / 1e12);
  }

  /** FLOP/s of attention's scores, mixing, and their gradients. */
  private double attention(DataType type) {
    try (Scope scope = Scope.open()) {
      Tensor query = random(type, HEADS, QUERIES, HEAD_DIM);
      Tensor key = random(type, HEADS, KEYS, HEAD_DIM);
      Tensor scores = random(type, HEADS, QUERIES, KEYS);
      double time =
          time(
              () -> {
                torch.bmm(query, key.transpose(1, 2));
                torch.bmm(scores, key);
                torch.bmm(scores.transpose(1, 2), query);
              });
      return 3 * 2.0 * HEADS * QUERIES * KEYS * HEAD_DIM / time;
    }
  }

  private double operation() {
    try (Scope scope = Scope.open()) {
      Tensor x = random(DataType.FLOAT32, 16);
      return time(() -> x.add_(x));
    }
  }

  private Link message() {
    double small = message(SMALL_BYTES);
    return link(small, message(LARGE_BYTES), 1);
  }

  /** Seconds from the first rank to the second: half a way there and back. */
  private double message(long bytes) {
    try (Scope scope = Scope.open()) {
      Tensor buffer = Tensors.zeros(ScalarType.Byte, world.device(), bytes);
      Communicator all = world.all();
      int peer = 1 - world.rank();
      return leastTime(
              () -> {
                if (world.rank() == 0) {
                  all.send(buffer, peer, 0).await();
                  all.receive(buffer, peer, 1).await();
                } else if (world.rank() == 1) {
                  all.receive(buffer, peer, 0).await();
                  all.send(buffer, peer, 1).await();
                }
              })
          / 2;
    }
  }

  private Link collective() {
    double small = allReduce(SMALL_BYTES);
    return link(small, allReduce(LARGE_BYTES), world.mesh().size());
  }

  /**
   * Seconds of a part's move in the ring of an all-reduce, between products as in a model: ranks
   * are never there at the same moment.
   */
  private double allReduce(long bytes) {
    try (Scope scope = Scope.open()) {
      Tensor sum = Tensors.zeros(ScalarType.BFloat16, world.device(), bytes / 2);
      Tensor x = random(DataType.BFLOAT16, rows, 512);
      Tensor weight = random(DataType.BFLOAT16, 1024, 512);
      double alone = leastTime(() -> torch.linear(x, weight));
      double both =
          leastTime(
              () -> {
                torch.linear(x, weight);
                world.all().allReduce(sum, Reduction.SUM).await();
              });
      return (both - alone) / (2 * (world.mesh().size() - 1));
    }
  }

  /**
   * A line through two times.
   *
   * @param parts into which the messages were cut
   */
  private static Link link(double small, double large, int parts) {
    double perByte = (large - small) * parts / (LARGE_BYTES - SMALL_BYTES);
    double latency = small - perByte * SMALL_BYTES / parts;
    if (!(perByte > 0)) {
      throw new TrainException(
          ("a message of %d bytes took %.6f s, and one of %d bytes %.6f; something else kept the"
                  + " machine busy: measure again")
              .formatted(SMALL_BYTES, small, LARGE_BYTES, large));
    }
    return new Link(1e6 * Math.max(0, latency), 1 / perByte / 1e9);
  }

  private Tensor random(DataType type, long... shape) {
    return torch.randn(shape).to(world.device(), Decoder.scalarType(type));
  }

  /** Seconds of some work that all ranks do at the same time, on average over ranks. */
  private double time(Runnable work) {
    return mean(Median.of(times(work)));
  }

  /** As {@link #time}, of the fastest block: a message waits for all that ranks wait for. */
  private double leastTime(Runnable work) {
    return mean(Arrays.stream(times(work)).min().orElseThrow());
  }

  private double[] times(Runnable work) {
    double first = largest(block(work, 1));
    block(work, (int) Math.clamp(seconds / first, 1, WARMUP - 1));
    double once = largest(block(work, 2));
    int count = (int) Math.clamp(seconds / BLOCKS / once, 1, 100_000);
    double[] times = new double[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
      times[i] = block(work, count);
    }
    return times;
  }

  private double block(Runnable work, int count) {
    world.all().barrier();
    long start = System.nanoTime();
    for (int i = 0; i < count; i++) {
      try (Scope scope = Scope.open()) {
        work.run();
      }
    }
    return (System.nanoTime() - start) / 1e9 / count;
  }

  private double mean(double mine) {
    return world.all().sum(mine)[0] / world.mesh().size();
  }

  private double largest(double mine) {
    double[] all = new double[world.mesh().size()];
    all[world.rank()] = mine;
    return Arrays.stream(world.all().sum(all)).max().orElseThrow();
  }
}
