package org.eellm.cli;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import org.eellm.train.TrainBenchmark;
import org.eellm.train.TrainBenchmark.Report;
import org.eellm.train.TrainBenchmark.Variant;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code eellm bench train}: training steps with and without the exits, beside the GEMM rate. */
@Command(
    name = "train",
    description = "Time training steps with and without the exits, beside the GEMM rate.")
final class BenchTrainCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;

  @Mixin private BenchOptions options;

  @Override
  public Integer call() {
    Report report = TrainBenchmark.run(options.read(spec), options.rounds());
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
