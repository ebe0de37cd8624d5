package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.bench.SlowFormat;
import org.eellm.bench.TrainBenchmark;
import org.eellm.bench.TrainBenchmark.Comparison;
import org.eellm.bench.TrainBenchmark.Report;
import org.eellm.bench.TrainBenchmark.Variant;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LocalRanks;
import org.eellm.cli.option.RankOptions;
import org.eellm.cli.option.Usage;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code eellm bench train}: training steps with and without the exits, beside the GEMM rate; on a
 * mesh, beside one rank.
 */
@Command(
    name = "train",
    description = {
      "Time training steps with and without the exits, beside the GEMM rate.",
      "On a mesh (--nproc with --set parallel...=), beside one rank."
    })
final class BenchTrainCommand extends EellmCommand {
  @Mixin private JsonOption json;

  @Mixin private BenchOptions options;
  @Mixin private RankOptions ranks;

  @Option(
      names = "--mesh-only",
      description =
          "On a mesh: measure nothing beside it, so that the memory shown is that of its ranks.")
  private boolean meshOnly;

  @Override
  public Integer call() {
    RunConfig config = options.read(spec);
    ParallelConfig parallel = config.parallel();
    Mesh mesh = new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp());
    Optional<Integer> toLaunch = ranks.toLaunch(spec);
    if (toLaunch.isPresent()) {
      mesh.requireSize(toLaunch.get());
      return ranks.launch(spec, toLaunch.get(), List::of);
    }
    if (mesh.size() == 1) {
      Usage.require(
          spec, !meshOnly, "--mesh-only: there is no mesh; set parallel.pp, dp, cp or tp as well");
      return measure(config, World.singleRank());
    }
    return LocalRanks.inWorld(
        mesh,
        Duration.ofSeconds(parallel.timeoutSeconds()),
        LocalRanks.transport(config.train().device()),
        world -> measure(config, world));
  }

  private int measure(RunConfig config, World world) {
    if (world.rank() == 0) {
      SlowFormat.of(config).ifPresent(line -> err().println("eellm: " + line));
    }
    Report report = TrainBenchmark.run(config, world, options.rounds(), !meshOnly);
    if (world.rank() == 0) {
      json.print(out(), report, () -> print(report, out()));
    }
    return ExitCode.OK;
  }

  private static void print(Report report, PrintWriter out) {
    out.printf(
        "%.1f M parameters, %s, %s, microbatches: %d, threads a rank: %d, median of %d rounds%n",
        report.parameters() / 1e6,
        report.dtype(),
        report.mesh(),
        report.microbatches(),
        report.threads(),
        report.rounds());
    print("measured", report.measured(), out);
    report.comparison().ifPresent(others -> print(report, others, out));
    out.printf(
        "bubble of equal stages %.1f %%, memory of the ranks %s MB%n",
        100 * report.bubble(),
        report.memory().stream()
            .map(bytes -> "%,.0f".formatted(bytes / 1e6))
            .collect(Collectors.joining(", ")));
  }

  private static void print(Report report, Comparison others, PrintWriter out) {
    print("without exits", others.withoutExits(), out);
    others.alone().ifPresent(alone -> print("one rank", alone, out));
    out.printf(
        "the exits add %.1f %% time for %.1f %% FLOPs%n",
        100 * others.exitTime(), 100 * others.exitFlops());
    others.dropoutTime().ifPresent(share -> out.printf("dropout adds %.1f %% time%n", 100 * share));
    others
        .gemmFlopsPerSecond()
        .ifPresent(
            rate ->
                out.printf(
                    "matrix products %.0f GFLOP/s; steps reach %.0f %% of that, %.0f %% without"
                        + " exits%n",
                    rate / 1e9,
                    100 * report.measured().flopsPerSecond() / rate,
                    100 * others.withoutExits().flopsPerSecond() / rate));
    others
        .speedUp()
        .ifPresent(
            speedUp ->
                out.printf(
                    "%.2f times one rank, %.0f %% of the limit %.2f%n",
                    speedUp, 100 * speedUp / report.limit(), report.limit()));
  }

  private static void print(String name, Variant variant, PrintWriter out) {
    out.printf(
        "%-14s exits %-8s %.3f s a step, %.0f tokens/s, %.0f GFLOP/s, waiting %.1f %%%n",
        name,
        variant.exits(),
        variant.stepSeconds(),
        variant.tokensPerSecond(),
        variant.flopsPerSecond() / 1e9,
        100 * variant.waiting());
  }
}
