package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Optional;
import org.eellm.bench.SlowFormat;
import org.eellm.bench.TuneBenchmark;
import org.eellm.bench.TuneBenchmark.Report;
import org.eellm.bench.TuneBenchmark.Variant;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.ConfigException;
import org.eellm.config.RunConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm bench tune}: steps that tune exits beside steps that train the whole model. */
@Command(
    name = "tune",
    description =
        "Time steps that tune the exits, or low-rank changes, beside steps that train the whole"
            + " model.")
final class BenchTuneCommand extends EellmCommand {
  @Mixin private JsonOption json;
  @Mixin private BenchOptions options;

  @Option(
      names = "--model",
      paramLabel = "DIR",
      description =
          "A model with exits to go on from, on the data of --config, in place of random ones; then"
              + " losses mean something.")
  private Optional<Path> model = Optional.empty();

  @Override
  public Integer call() {
    RunConfig config =
        model
            .map(folder -> options.readTrainingOn(spec, folder))
            .orElseGet(() -> options.read(spec));
    if (config.exits().layers().isEmpty()) {
      throw new ConfigException(
          "exits.layers: is empty, and there is nothing to tune; use --set 'exits.layers=[2]'");
    }
    SlowFormat.of(config).ifPresent(line -> err().println("eellm: " + line));
    Report report = TuneBenchmark.run(config, options.rounds());
    json.print(out(), report, () -> print(report, out()));
    return ExitCode.OK;
  }

  private static void print(Report report, PrintWriter out) {
    out.printf(
        "exits %s of %d layers, %s, %d tokens a step, %d threads, median of %d rounds%n",
        report.exits(),
        report.layers(),
        report.dtype(),
        report.tokensPerStep(),
        report.threads(),
        report.rounds());
    out.printf(
        "%-24s %8s %10s %16s %10s %10s %8s%n",
        "learns", "layers", "ms a step", "range", "of training", "MB", "loss");
    for (Variant variant : report.variants()) {
      out.printf(
          "%-24s %8d %10.1f %16s %11.2f %10.1f %8s%n",
          variant.learning().replace('_', ' '),
          variant.layers(),
          1e3 * variant.stepSeconds(),
          "%.1f to %.1f".formatted(1e3 * variant.fastestSeconds(), 1e3 * variant.slowestSeconds()),
          variant.timeOfTraining(),
          variant.bytes() / 1e6,
          variant.loss().isPresent() ? "%.4f".formatted(variant.loss().getAsDouble()) : "-");
    }
  }
}
