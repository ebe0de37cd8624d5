package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.eellm.bench.LoadBenchmark;
import org.eellm.bench.LoadBenchmark.Percentiles;
import org.eellm.bench.LoadBenchmark.Report;
import org.eellm.cli.option.JsonOption;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm bench serve}: many clients at a running server, well-behaved and other. */
@Command(
    name = "serve",
    description = {
      "Load a running server with many clients: most stream texts of mixed lengths, one in ten"
          + " leaves amid its text, one in ten sends nonsense.",
      "Each text is compared with the server's answer to the same request alone. Exit code 1 if"
          + " one differs, a bad request is not refused, or anything is held afterwards."
    })
final class BenchServeCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;

  @Option(
      names = "--url",
      defaultValue = "http://127.0.0.1:8000",
      description = "The server (default: ${DEFAULT-VALUE}).")
  private String url;

  @Option(names = "--api-key", description = "Its key, if it asks for one.")
  private Optional<String> apiKey;

  @Option(
      names = "--clients",
      defaultValue = "64",
      description = "Clients at once (default: ${DEFAULT-VALUE}).")
  private int clients;

  @Option(
      names = "--seconds",
      defaultValue = "120",
      description = "How long they go on asking (default: ${DEFAULT-VALUE}).")
  private int seconds;

  @Option(
      names = "--max-tokens",
      defaultValue = "64",
      description = "Of the longest texts (default: ${DEFAULT-VALUE}).")
  private int maxTokens;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "Which requests are made (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Override
  public Integer call() {
    BenchOptions.requireAtLeast(spec, "--clients", clients, 1);
    BenchOptions.requireAtLeast(spec, "--seconds", seconds, 1);
    BenchOptions.requireAtLeast(spec, "--max-tokens", maxTokens, 1);
    Report report =
        LoadBenchmark.run(
            new LoadBenchmark.Options(
                BenchOptions.address(spec, url),
                apiKey,
                clients,
                Duration.ofSeconds(seconds),
                maxTokens,
                seed));
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      JsonOption.print(out, report);
    } else {
      print(report, out);
    }
    return report.isSound() ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  private static void print(Report report, PrintWriter out) {
    out.printf("%d clients for %.0f s%n", report.clients(), report.seconds());
    out.printf(
        "%,d texts, %d of them not what the same request gets alone; %,d tokens, %.0f a second%n",
        report.texts(), report.wrongTexts(), report.tokens(), report.tokensPerSecond());
    out.printf(
        "%,d left amid their text; %,d bad requests refused, %d with another status or none; %d"
            + " told to come back; %d failed%n",
        report.left(),
        report.refused(),
        report.wrongStatus(),
        report.turnedAway(),
        report.failed());
    print("first token", report.firstToken(), out);
    print("whole text", report.wholeText(), out);
    out.printf(
        "afterwards: %d texts in work, %d waiting, %d cache positions in use; memory %.0f MB, after"
            + " a quarter of the time %.0f MB%n",
        report.stillRunning(),
        report.stillQueued(),
        report.cacheTokensInUse(),
        report.memoryAfter() / 1e6,
        report.memoryBefore() / 1e6);
    report.firstFailure().ifPresent(failure -> out.println("first failure: " + failure));
  }

  private static void print(String name, Percentiles seconds, PrintWriter out) {
    out.printf(
        "%-12s p50 %.3f s, p95 %.3f s, p99 %.3f s, longest %.3f s%n",
        name, seconds.p50(), seconds.p95(), seconds.p99(), seconds.max());
  }
}
