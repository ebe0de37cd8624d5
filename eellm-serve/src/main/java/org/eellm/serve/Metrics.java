package org.eellm.serve;

import io.prometheus.metrics.config.EscapingScheme;
import io.prometheus.metrics.core.metrics.Counter;
import io.prometheus.metrics.core.metrics.CounterWithCallback;
import io.prometheus.metrics.core.metrics.GaugeWithCallback;
import io.prometheus.metrics.core.metrics.Histogram;
import io.prometheus.metrics.expositionformats.PrometheusTextFormatWriter;
import io.prometheus.metrics.model.registry.PrometheusRegistry;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.Supplier;
import java.util.function.ToIntFunction;
import org.eellm.decode.Engine.Status;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.serve.access.ApiKey;

/** The metrics that a server gives Prometheus. */
final class Metrics {
  static final String CONTENT_TYPE = PrometheusTextFormatWriter.CONTENT_TYPE;

  private static final double[] SECONDS = {
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 120
  };

  private final PrometheusRegistry registry = new PrometheusRegistry();
  private final Counter requests =
      Counter.builder()
          .name("eellm_requests_total")
          .help("Answered requests by path and HTTP status.")
          .labelNames("path", "status")
          .register(registry);
  private final Counter keyRequests =
      Counter.builder()
          .name("eellm_key_requests_total")
          .help("Answered requests with a named key, by its name and HTTP status.")
          .labelNames("key", "status")
          .register(registry);
  private final Counter promptTokens =
      Counter.builder()
          .name("eellm_prompt_tokens_total")
          .help("Tokens of prompts whose texts have ended.")
          .register(registry);
  private final Counter reusedTokens =
      Counter.builder()
          .name("eellm_reused_prompt_tokens_total")
          .help("Of these, tokens whose keys and values were there already.")
          .register(registry);
  private final Counter generatedTokens =
      Counter.builder()
          .name("eellm_generated_tokens_total")
          .help("Generated tokens by the head they left at, exit_N or final.")
          .labelNames("head")
          .register(registry);
  private final Counter draftedTokens =
      Counter.builder()
          .name("eellm_drafted_tokens_total")
          .help("Tokens that were drafted and that the full model judged.")
          .register(registry);
  private final Counter confirmedTokens =
      Counter.builder()
          .name("eellm_confirmed_tokens_total")
          .help("Of these, tokens that held.")
          .register(registry);
  private final Counter disconnects =
      Counter.builder()
          .name("eellm_disconnects_total")
          .help("Requests whose clients went away before their end.")
          .register(registry);
  private final Histogram firstToken =
      Histogram.builder()
          .name("eellm_time_to_first_token_seconds")
          .help("From the end of a request's body to a text's first token.")
          .classicOnly()
          .classicUpperBounds(SECONDS)
          .register(registry);
  private final Histogram nextToken =
      Histogram.builder()
          .name("eellm_inter_token_seconds")
          .help("From one token of a text to the next.")
          .classicOnly()
          .classicUpperBounds(SECONDS)
          .register(registry);
  private final Histogram queued =
      Histogram.builder()
          .name("eellm_queue_seconds")
          .help("From a text's request to the moment it was taken in work.")
          .classicOnly()
          .classicUpperBounds(SECONDS)
          .register(registry);

  /**
   * @param status of the engine; zeros before there is one
   */
  Metrics(Supplier<Status> status) {
    gauge(
        "eellm_texts_queued", "Texts that wait for a place in the batch.", status, Status::queued);
    gauge("eellm_texts_running", "Texts in work.", status, Status::running);
    gauge(
        "eellm_cache_tokens",
        "Positions whose keys and values have room.",
        status,
        Status::cacheTokens);
    gauge(
        "eellm_cache_tokens_in_use",
        "Positions that texts in work have taken, for the longest they may get.",
        status,
        Status::cacheTokensInUse);
    GaugeWithCallback.builder()
        .name("process_resident_memory_bytes")
        .help("Memory of the process, on Linux.")
        .callback(callback -> residentBytes().ifPresent(callback::call))
        .register(registry);
    ProcessorTime processor = new ProcessorTime();
    if (processor.isKnown()) {
      CounterWithCallback.builder()
          .name("process_cpu_seconds_total")
          .help("Time that the process' threads ran, on Linux.")
          .callback(callback -> callback.call(1e-9 * processor.update().ran()))
          .register(registry);
      CounterWithCallback.builder()
          .name("eellm_cpu_wait_seconds_total")
          .help("Time that the process' threads waited for a processor to run on, on Linux.")
          .callback(callback -> callback.call(1e-9 * processor.update().waited()))
          .register(registry);
    }
  }

  /** How long this process' threads ran and waited, those that have ended included if seen. */
  private static final class ProcessorTime {
    private static final Path TASKS = Path.of("/proc/self/task");

    private Map<String, Nanos> threads = Map.of();
    private Nanos total = new Nanos(0, 0);

    record Nanos(long ran, long waited) {
      Nanos plus(Nanos other, int times) {
        return new Nanos(ran + times * other.ran, waited + times * other.waited);
      }
    }

    boolean isKnown() {
      return update().ran() > 0;
    }

    synchronized Nanos update() {
      Map<String, Nanos> now = new HashMap<>();
      try (DirectoryStream<Path> tasks = Files.newDirectoryStream(TASKS)) {
        tasks.forEach(task -> nanos(task).ifPresent(time -> now.put(task.toString(), time)));
      } catch (IOException e) {
        return total; // another system
      }
      now.forEach(
          (task, time) -> {
            Nanos before = threads.getOrDefault(task, new Nanos(0, 0));
            total = total.plus(time, 1);
            if (before.ran() <= time.ran()) { // else a new thread has an old one's number
              total = total.plus(before, -1);
            }
          });
      threads = now;
      return total;
    }

    private static Optional<Nanos> nanos(Path task) {
      try {
        String[] counted = Files.readString(task.resolve("schedstat")).split(" ");
        return Optional.of(new Nanos(Long.parseLong(counted[0]), Long.parseLong(counted[1])));
      } catch (IOException e) {
        return Optional.empty(); // the thread has ended, or the kernel does not count
      }
    }
  }

  /** Resident memory by Linux's count; native memory, where tensors are, is most of it. */
  private static OptionalLong residentBytes() {
    try {
      return Files.readAllLines(Path.of("/proc/self/status")).stream()
          .filter(line -> line.startsWith("VmRSS:"))
          .mapToLong(line -> 1024 * Long.parseLong(line.replaceAll("[^0-9]", "")))
          .findFirst();
    } catch (IOException e) {
      return OptionalLong.empty(); // another system
    }
  }

  private void gauge(
      String name, String help, Supplier<Status> status, ToIntFunction<Status> value) {
    GaugeWithCallback.builder()
        .name(name)
        .help(help)
        .callback(callback -> callback.call(value.applyAsInt(status.get())))
        .register(registry);
  }

  void answered(String path, int status) {
    requests.labelValues(path, Integer.toString(status)).inc();
  }

  void answered(ApiKey key, int status) {
    keyRequests.labelValues(key.name(), Integer.toString(status)).inc();
  }

  /** A text has become a vector. */
  void embedded(int tokens) {
    promptTokens.inc(tokens);
  }

  void disconnected() {
    disconnects.inc();
  }

  void firstToken(GeneratedToken token, double seconds) {
    generatedTokens.labelValues(token.head().toString()).inc();
    firstToken.observe(seconds);
  }

  void nextToken(GeneratedToken token, double seconds) {
    generatedTokens.labelValues(token.head().toString()).inc();
    nextToken.observe(seconds);
  }

  void ended(Usage usage, double queuedSeconds) {
    promptTokens.inc(usage.promptTokens());
    reusedTokens.inc(usage.reusedTokens());
    draftedTokens.inc(usage.draftedTokens());
    confirmedTokens.inc(usage.acceptedTokens());
    queued.observe(queuedSeconds);
  }

  /** All figures in Prometheus' text format. */
  byte[] text() {
    ByteArrayOutputStream text = new ByteArrayOutputStream();
    try {
      PrometheusTextFormatWriter.create()
          .write(text, registry.scrape(), EscapingScheme.UNDERSCORE_ESCAPING);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return text.toByteArray();
  }
}
