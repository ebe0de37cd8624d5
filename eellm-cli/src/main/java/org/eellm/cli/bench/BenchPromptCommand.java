package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.util.List;
import org.eellm.bench.PromptBenchmark;
import org.eellm.bench.PromptBenchmark.Prompt;
import org.eellm.bench.PromptBenchmark.Report;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.QuantizationOptions;
import org.eellm.cli.option.Usage;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm bench prompt}: how long prompts take to their first token. */
@Command(
    name = "prompt",
    description = "Time prompts up to their first token, in the full model with random weights.")
final class BenchPromptCommand extends EellmCommand {
  @Mixin private JsonOption json;
  @Mixin private BenchOptions options;
  @Mixin private QuantizationOptions quantizationOptions;

  @Option(
      names = "--lengths",
      split = ",",
      paramLabel = "N",
      defaultValue = "128,512",
      description = "Tokens of a prompt, for each measurement (default: ${DEFAULT-VALUE}).")
  private List<Integer> lengths;

  @Override
  public Integer call() {
    RunConfig config = options.read(spec);
    int context = config.model().maxPositions();
    for (int length : lengths) {
      Usage.requireAtLeast(spec, 1, length, "--lengths");
      Usage.require(
          spec,
          length < context,
          "--lengths: %d with a token more is beyond model.max_positions %d; use at most %d",
          length,
          context,
          context - 1);
    }
    MatrixQuantization quantization =
        quantizationOptions.on(config.train().device(), MatrixQuantization.NONE);
    Report report = PromptBenchmark.run(config, quantization, lengths, options.rounds());
    json.print(out(), report, () -> print(report, out()));
    return ExitCode.OK;
  }

  private static void print(Report report, PrintWriter out) {
    out.printf(
        "%s, %d threads, median of %d rounds%n", report.dtype(), report.threads(), report.rounds());
    out.println("prompt  first token ms  tokens/s");
    for (Prompt prompt : report.prompts()) {
      out.printf(
          "%6d %15.1f %9.0f%n", prompt.tokens(), 1e3 * prompt.seconds(), prompt.tokensPerSecond());
    }
  }
}
