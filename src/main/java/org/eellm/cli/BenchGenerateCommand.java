package org.eellm.cli;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.generate.GenerateBenchmark;
import org.eellm.generate.GenerateBenchmark.Mode;
import org.eellm.generate.GenerateBenchmark.Report;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code eellm bench generate}: decoding with each exit forced, beside the memory's read rate. */
@Command(
    name = "generate",
    description = "Time decoding with each exit forced, beside the memory's read rate.")
final class BenchGenerateCommand implements Callable<Integer> {
  private static final int PROMPT_AND_MORE = 32;

  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;
  @Mixin private BenchOptions options;

  @Option(
      names = "--batch-size",
      defaultValue = "1",
      description = "Sequences at once (default: ${DEFAULT-VALUE}).")
  private int batch;

  @Option(
      names = "--max-tokens",
      defaultValue = "96",
      description = "Tokens of each sequence (default: ${DEFAULT-VALUE}).")
  private int tokens;

  @Option(
      names = "--quantize",
      paramLabel = "TYPE",
      defaultValue = "none",
      description = "int8: keep the matrices in 8 bits; ${DEFAULT-VALUE} by default.")
  private Quantization quantization;

  @Override
  public Integer call() {
    RunConfig config = options.read(spec);
    BenchOptions.requireAtLeast(spec, "--batch-size", batch, 1);
    BenchOptions.requireAtLeast(spec, "--max-tokens", tokens, 2);
    int context = config.model().maxPositions();
    if (tokens + PROMPT_AND_MORE > context) {
      throw new ParameterException(
          spec.commandLine(),
          "--max-tokens: %d with a prompt is beyond model.max_positions %d; use at most %d"
              .formatted(tokens, context, context - PROMPT_AND_MORE));
    }
    Report report = GenerateBenchmark.run(config, quantization, options.rounds(), batch, tokens);
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
        "%s, %d threads, %d sequences of %d tokens, median of %d rounds; memory is read at %.1f"
            + " GB/s%n",
        report.dtype(),
        report.threads(),
        report.batch(),
        report.tokens(),
        report.rounds(),
        report.memoryBytesPerSecond() / 1e9);
    out.println("head      layer  tokens/s  weights MB  GB/s  speed-up  ideal  of ideal");
    for (Mode mode : report.modes()) {
      out.printf(
          "%-9s %5d %9.1f %11.1f %5.1f %9.2f %6.2f %8.0f %%%n",
          mode.head(),
          mode.layer(),
          mode.tokensPerSecond(),
          mode.bytesPerToken() / 1e6,
          mode.readBytesPerSecond() / 1e9,
          mode.speedup(),
          mode.ideal(),
          100 * mode.shareOfIdeal());
    }
  }
}
