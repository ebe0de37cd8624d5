package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.eellm.bench.DecodeBenchmark;
import org.eellm.bench.DecodeBenchmark.Mode;
import org.eellm.bench.DecodeBenchmark.Plan;
import org.eellm.bench.DecodeBenchmark.Report;
import org.eellm.bench.DecodeBenchmark.Step;
import org.eellm.bench.DecodeBenchmark.StepCosts;
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

/** {@code eellm bench decode}: what rows cost, and decoding with each exit forced. */
@Command(
    name = "decode",
    description = {
      "Tell what rows cost in a step, beside the rate at which weights are read in the same run,"
          + " and time decoding with each exit forced.",
      "docs/reports/performance.md describes the report."
    })
final class BenchDecodeCommand extends EellmCommand {
  private static final int PROMPT_AND_MORE = 32;
  private static final int CONTEXT = 64;
  private static final int MOST_ROWS = 256;

  @Mixin private JsonOption json;
  @Mixin private BenchOptions options;
  @Mixin private QuantizationOptions quantizationOptions;

  @Option(
      names = "--batch-size",
      split = ",",
      paramLabel = "N",
      defaultValue = "1",
      description = "Texts at once, one number or several (default: ${DEFAULT-VALUE}).")
  private List<Integer> batches;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "96",
      description = "Tokens of each text (default: ${DEFAULT-VALUE}).")
  private int tokens;

  @Option(
      names = "--rows",
      split = ",",
      paramLabel = "N",
      defaultValue = "1,2,4,8,16",
      description =
          "Rows of steps whose costs are told (default: ${DEFAULT-VALUE}); 1, which the others are"
              + " held against, is always among them.")
  private List<Integer> rows;

  @Option(
      names = "--context",
      split = ",",
      paramLabel = "N",
      description =
          "Positions before these rows, one number or several; "
              + CONTEXT
              + " by default, or half of what the model has.")
  private List<Integer> contexts = List.of();

  /** The object that {@code --json} prints. */
  private record Output(Report report) {}

  @Override
  public Integer call() {
    RunConfig config = options.read(spec);
    batches = batches.stream().distinct().toList();
    rows = Stream.concat(Stream.of(1), rows.stream()).distinct().sorted().toList();
    int positions = config.model().maxPositions();
    if (contexts.isEmpty()) {
      contexts = List.of(Math.min(CONTEXT, positions / 2));
    }
    contexts = contexts.stream().distinct().toList();
    check(positions);
    Plan plan = new Plan(options.rounds(), batches, tokens, rows, contexts);
    MatrixQuantization quantization =
        quantizationOptions.on(config.train().device(), MatrixQuantization.NONE);
    Report report = DecodeBenchmark.run(config, quantization, plan);
    json.print(out(), new Output(report), () -> print(report, out()));
    return ExitCode.OK;
  }

  private void check(int positions) {
    for (int batch : batches) {
      Usage.requireAtLeast(spec, 1, batch, "--batch-size");
    }
    Usage.requireAtLeast(spec, 2, tokens, "--max-tokens");
    Usage.require(
        spec,
        tokens + PROMPT_AND_MORE <= positions,
        "--max-tokens: %d with a prompt is beyond model.max_positions %d; use at most %d",
        tokens,
        positions,
        positions - PROMPT_AND_MORE);
    for (int count : rows) {
      Usage.require(
          spec,
          count >= 1 && count <= MOST_ROWS,
          "--rows: %d is outside 1..%d; use a number of these",
          count,
          MOST_ROWS);
    }
    int most = rows.getLast();
    for (int context : contexts) {
      Usage.requireAtLeast(spec, 0, context, "--context");
      Usage.require(
          spec,
          context + most <= positions,
          "--context: %d and %d rows are beyond model.max_positions %d; use at most %d, fewer"
              + " --rows, or --set model.max_positions=%d",
          context,
          most,
          positions,
          Math.max(0, positions - most),
          context + most);
    }
  }

  private static void print(Report report, PrintWriter out) {
    out.printf(
        "%s, %d threads, median of %d rounds%n", report.dtype(), report.threads(), report.rounds());
    report.costs().ifPresent(costs -> print(costs, out));
    out.printf(
        Locale.ROOT,
        "%ntexts of %d tokens, each of which leaves at one head; weights are read at %.1f GB/s%n",
        report.tokens(),
        report.readBytesPerSecond() / 1e9);
    out.println("texts  head      layer  tokens/s  weights MB  GB/s  speed-up  ideal  of ideal");
    for (Mode mode : report.modes()) {
      out.printf(
          "%5d  %-9s %5d %9.1f %11.1f %5.1f %9.2f %6.2f %8.0f %%%n",
          mode.batch(),
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

  private static void print(StepCosts costs, PrintWriter out) {
    out.printf("kernel   %s%n", costs.kernel());
    out.printf(
        "weights  %.1f MB, %s the processor's cache; these threads read them at %.1f GB/s%n",
        costs.weightBytes() / 1e6,
        costs.withinCache() ? "within" : "beyond",
        costs.readBytesPerSecond() / 1e9);
    out.printf("%na step of the full model%ncontext  rows        us  ratio  of the read rate%n");
    for (Step step : costs.steps()) {
      out.printf(
          "%7d %5d %9.1f %6.2f %17.2f%n",
          step.context(),
          step.rows(),
          step.step().microseconds(),
          step.step().ratio(),
          step.shareOfReadRate());
    }
  }
}
