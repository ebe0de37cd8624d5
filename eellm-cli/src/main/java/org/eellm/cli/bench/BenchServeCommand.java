package org.eellm.cli.bench;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.eellm.bench.LoadBenchmark;
import org.eellm.bench.LoadBenchmark.Held;
import org.eellm.bench.LoadBenchmark.Load;
import org.eellm.bench.LoadBenchmark.Percentiles;
import org.eellm.bench.LoadBenchmark.Report;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.Usage;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm bench serve}: many clients at running servers, or requests that come at random. */
@Command(
    name = "serve",
    description = {
      "Load a running server with many clients: most stream texts of mixed lengths, one in ten"
          + " leaves amid its text, one in ten sends nonsense. Each text is compared with the"
          + " server's answer to the same request alone. Exit code 1 if one differs, a bad request"
          + " is not refused, or anything is held afterwards.",
      "With --arrivals, time servers as clients see them who come at random: to the first token,"
          + " and between two parts of a text. First --clients ask without a pause, which gives"
          + " the highest throughput; then requests arrive (Poisson) at shares of it. With several"
          + " --url the servers take turns; any that speaks OpenAI's API will do. Exit code 1 if a"
          + " request failed."
    })
final class BenchServeCommand extends EellmCommand {
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
      names = "--max-tokens",
      defaultValue = "48",
      description =
          "Of the longest texts (default: ${DEFAULT-VALUE}); texts that arrive all have as many.")
  private int maxTokens;

  @Option(
      names = "--seed",
      defaultValue = "1",
      description = "Which requests are made, and when they arrive (default: ${DEFAULT-VALUE}).")
  private long seed;

  @Option(
      names = "--arrivals",
      split = ",",
      paramLabel = "X",
      description =
          "Let requests arrive at these shares of the highest throughput, as in 0.5,0.8,1.")
  private List<Double> arrivals = List.of();

  @Option(names = "--words", description = "Of a prompt that arrives (default: 24).")
  private Optional<Integer> words;

  @Option(
      names = "--long-words",
      description =
          "Of every tenth prompt that arrives, to see whether the others wait for it; 0, the"
              + " default, for none.")
  private Optional<Integer> longWords;

  @Override
  public Integer call() {
    Usage.requireAtLeast(spec, 1, clients, "--clients");
    Usage.requireAtLeast(spec, 1, seconds, "--seconds");
    Usage.requireAtLeast(spec, 1, maxTokens, "--max-tokens");
    Usage.requireAtLeast(spec, 1, words.orElse(1), "--words");
    Usage.requireAtLeast(spec, 0, longWords.orElse(0), "--long-words");
    Usage.require(
        spec,
        !arrivals.isEmpty() || words.isEmpty() && longWords.isEmpty(),
        "--words, --long-words: of requests that arrive; give --arrivals 0.5,0.8,1 as well");
    for (double share : arrivals) {
      Usage.require(
          spec,
          share > 0 && share <= 10,
          "--arrivals: %s is outside (0, 10]; 1 is the highest throughput",
          share);
    }
    List<Report> reports =
        LoadBenchmark.run(
            new LoadBenchmark.Options(
                urls.stream().map(this::address).toList(),
                apiKey,
                clients,
                Duration.ofSeconds(seconds),
                arrivals,
                words.orElse(24),
                longWords.orElse(0),
                maxTokens,
                seed));
    reports.forEach(report -> json.print(out(), report, () -> print(report, out())));
    return reports.stream().allMatch(Report::isSound) ? ExitCode.OK : ExitCode.SOFTWARE;
  }

  /** A server's address without a slash at its end. */
  private String address(String url) {
    Usage.require(
        spec,
        url.matches("https?://[^/?#]+/?"),
        "--url: '%s' is no address of a server; use one as in http://127.0.0.1:8000",
        url);
    return url.replaceFirst("/$", "");
  }

  private void print(Report report, PrintWriter out) {
    out.println(report.url());
    for (Load load : report.loads()) {
      String who =
          load.share() > 0
              ? "requests at %.0f %%".formatted(100 * load.share())
              : "%d clients without a pause".formatted(clients);
      out.printf(
          "%s, %.2f a second for %.0f s: %,.0f tokens/s%n",
          who, load.requestsPerSecond(), load.seconds(), load.tokensPerSecond());
      out.println(
          load.outcomes().entrySet().stream()
              .map(entry -> "%,d %s".formatted(entry.getValue(), entry.getKey()))
              .collect(Collectors.joining(", ", "  ", "")));
      load.firstFailure().ifPresent(failure -> out.println("  first failure: " + failure));
      print("first token", load.firstToken(), out);
      print("between parts", load.gap(), out);
      print("whole text", load.wholeText(), out);
    }
    report.held().ifPresent(held -> print(held, out));
  }

  private static void print(String name, Percentiles seconds, PrintWriter out) {
    out.printf(
        "  %s: median %.0f ms, 95 %% within %.0f ms, 99 %% within %.0f ms, longest %.0f ms%n",
        name, 1e3 * seconds.p50(), 1e3 * seconds.p95(), 1e3 * seconds.p99(), 1e3 * seconds.max());
  }

  private static void print(Held held, PrintWriter out) {
    out.printf(
        "afterwards: %d texts in work, %d waiting, %d cache positions in use; memory %.0f MB, after"
            + " a quarter of the time %.0f MB%n",
        held.textsRunning(),
        held.textsQueued(),
        held.cacheTokensInUse(),
        held.memoryAfter() / 1e6,
        held.memoryBefore() / 1e6);
  }
}
