package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.eellm.bench.ArrivalBenchmark;
import org.eellm.bench.ArrivalBenchmark.Load;
import org.eellm.bench.ArrivalBenchmark.Report;
import org.eellm.bench.LoadBenchmark.Percentiles;
import org.eellm.cli.option.JsonOption;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code eellm bench arrivals}: how long clients wait who come at random. */
@Command(
    name = "arrivals",
    description = {
      "Time a running server as clients see it who come at random: to the first token, and between"
          + " two parts of a text. First --clients ask without a pause, which gives the highest"
          + " throughput; then requests arrive (Poisson) at shares of it.",
      "With several --url the servers take turns; any that speaks OpenAI's API will do. Exit code 1"
          + " if a request failed."
    })
final class BenchArrivalsCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;

  @Option(
      names = "--url",
      defaultValue = "http://127.0.0.1:8000",
      paramLabel = "URL",
      description = "A server; may be given again (default: ${DEFAULT-VALUE}).")
  private List<String> urls;

  @Option(names = "--api-key", description = "Their key, if they ask for one.")
  private Optional<String> apiKey;

  @Option(
      names = "--clients",
      defaultValue = "8",
      description = "Clients that ask without a pause (default: ${DEFAULT-VALUE}).")
  private int clients;

  @Option(
      names = "--seconds",
      defaultValue = "30",
      description = "Of each load (default: ${DEFAULT-VALUE}).")
  private int seconds;

  @Option(
      names = "--shares",
      split = ",",
      defaultValue = "0.5,0.8,1",
      paramLabel = "X",
      description =
          "Of the highest throughput, at which requests arrive (default: ${DEFAULT-VALUE}).")
  private List<Double> shares;

  @Option(
      names = "--words",
      defaultValue = "24",
      description = "Of a prompt (default: ${DEFAULT-VALUE}).")
  private int words;

  @Option(
      names = "--long-words",
      defaultValue = "0",
      description =
          "Of every tenth prompt, to see whether the others wait for it; 0, the default, for none.")
  private int longWords;

  @Option(
      names = "--max-tokens",
      defaultValue = "48",
      description = "Of each text (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "When requests arrive (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Override
  public Integer call() {
    BenchOptions.requireAtLeast(spec, "--clients", clients, 1);
    BenchOptions.requireAtLeast(spec, "--seconds", seconds, 1);
    BenchOptions.requireAtLeast(spec, "--words", words, 1);
    BenchOptions.requireAtLeast(spec, "--max-tokens", maxTokens, 1);
    BenchOptions.requireAtLeast(spec, "--long-words", longWords, 0);
    for (double share : shares) {
      if (!(share > 0 && share <= 10)) {
        throw new ParameterException(
            spec.commandLine(),
            "--shares: %s is outside (0, 10]; 1 is the highest throughput".formatted(share));
      }
    }
    List<Report> reports =
        ArrivalBenchmark.run(
            new ArrivalBenchmark.Options(
                urls.stream().map(url -> BenchOptions.address(spec, url)).toList(),
                apiKey,
                clients,
                Duration.ofSeconds(seconds),
                shares,
                words,
                longWords,
                maxTokens,
                seed));
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      JsonOption.print(out, reports);
    } else {
      reports.forEach(report -> print(report, out));
    }
    boolean sound =
        reports.stream().flatMap(report -> report.loads().stream()).allMatch(l -> l.failed() == 0);
    return sound ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private void print(Report report, PrintWriter out) {
    out.printf(
        "%s: %d clients without a pause get %.2f texts a second, %.0f tokens a second%n",
        report.url(), clients, report.requestsPerSecond(), report.tokensPerSecond());
    for (Load load : report.loads()) {
      out.printf(
          "at %.0f %%, %.2f a second: %d answered, %d failed%n",
          100 * load.share(), load.requestsPerSecond(), load.requests(), load.failed());
      print("  first token", load.firstToken(), out);
      print("  between parts", load.gap(), out);
      if (longWords > 0) {
        print("  first token of long prompts", load.longFirstToken(), out);
      }
      load.firstFailure().ifPresent(failure -> out.println("  first failure: " + failure));
    }
  }

  private static void print(String name, Percentiles seconds, PrintWriter out) {
    out.printf(
        "%s: median %.0f ms, 99 %% within %.0f ms, longest %.0f ms%n",
        name, 1e3 * seconds.p50(), 1e3 * seconds.p99(), 1e3 * seconds.max());
  }
}
