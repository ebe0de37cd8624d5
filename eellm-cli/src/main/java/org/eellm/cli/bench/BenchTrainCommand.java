package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.eellm.bench.MeshBenchmark;
import org.eellm.bench.TrainBenchmark;
import org.eellm.bench.TrainBenchmark.Report;
import org.eellm.bench.TrainBenchmark.Variant;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LocalRanks;
import org.eellm.cli.option.RankOptions;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.distributed.mesh.Mesh;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

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
final class BenchTrainCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
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
    Mesh mesh = new Mesh(parallel.tp(), parallel.dp(), parallel.pp());
    Optional<Integer> toLaunch = ranks.toLaunch(spec);
    if (toLaunch.isPresent()) {
      mesh.requireSize(toLaunch.get());
      return ranks.launch(spec, toLaunch.get(), List::of);
    }
    if (mesh.size() > 1) {
      return onMesh(config, mesh);
    }
    if (meshOnly) {
      throw new ParameterException(
          spec.commandLine(), "--mesh-only: there is no mesh; set parallel.pp, dp or tp as well");
    }
    return onOneRank(config);
  }

  private int onMesh(RunConfig config, Mesh mesh) {
    Duration timeout = Duration.ofSeconds(config.parallel().timeoutSeconds());
    return LocalRanks.inWorld(
        mesh,
        timeout,
        LocalRanks.transport(config.train().device()),
        world -> {
          MeshBenchmark.Report report =
              MeshBenchmark.run(config, world, options.rounds(), !meshOnly);
          if (world.rank() == 0) {
            print(report, spec.commandLine().getOut());
          }
          return ExitCode.OK;
        });
  }

  private void print(MeshBenchmark.Report report, PrintWriter out) {
    if (json.requested()) {
      JsonOption.print(out, report);
      return;
    }
    out.printf(
        "%s, %d microbatches, threads a rank: %d, median of %d rounds%n",
        report.mesh(), report.microbatches(), report.threads(), report.rounds());
    print("mesh", report.measured(), out);
    report
        .comparison()
        .ifPresent(
            others -> {
              print("without exits", others.withoutExits(), out);
              print("one rank", others.alone(), out);
              out.printf("the exits add %.1f %% time%n", 100 * others.exitTime());
              out.printf(
                  "%.2f times one rank, %.0f %% of the limit %.2f%n",
                  others.speedUp(), 100 * others.speedUp() / others.limit(), others.limit());
            });
    out.printf(
        "bubble of equal stages %.1f %%, memory of the ranks %s MB%n",
        100 * report.bubble(),
        report.memory().stream()
            .map(bytes -> "%,.0f".formatted(bytes / 1e6))
            .collect(Collectors.joining(", ")));
    out.flush();
  }

  private static void print(String name, MeshBenchmark.Variant variant, PrintWriter out) {
    out.printf(
        "%-14s exits %-8s %.3f s a step, %.0f tokens/s, waiting %.1f %%%n",
        name,
        variant.exits(),
        variant.stepSeconds(),
        variant.tokensPerSecond(),
        100 * variant.waiting());
  }

  private int onOneRank(RunConfig config) {
    Report report = TrainBenchmark.run(config, options.rounds());
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      JsonOption.print(out, report);
    } else {
      print(report, out);
    }
    return ExitCode.OK;
  }

  private static void print(Report report, PrintWriter out) {
    out.printf(
        "%.1f M parameters, %s, %d tokens a step, %d threads, median of %d rounds%n",
        report.parameters() / 1e6,
        report.dtype(),
        report.tokensPerStep(),
        report.threads(),
        report.rounds());
    out.printf("matrix products  %8.0f GFLOP/s%n", report.gemmFlopsPerSecond() / 1e9);
    print("without exits", report.withoutExits(), out);
    print("exits " + report.withExits().exits(), report.withExits(), out);
    out.printf(
        "the exits add %.1f %% time for %.1f %% FLOPs%n",
        100 * report.exitTime(), 100 * report.exitFlops());
    report.dropoutTime().ifPresent(share -> out.printf("dropout adds %.1f %% time%n", 100 * share));
  }

  private static void print(String name, Variant variant, PrintWriter out) {
    out.printf(
        "%-16s %8.0f GFLOP/s, %.0f %% of that; %.3f s a step, %.0f tokens/s%n",
        name,
        variant.flopsPerSecond() / 1e9,
        100 * variant.shareOfGemm(),
        variant.stepSeconds(),
        variant.tokensPerSecond());
  }
}
