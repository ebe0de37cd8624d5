package org.eellm.bench;

import java.io.IOException;
import java.net.http.HttpClient;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.SplittableRandom;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.DoubleStream;
import org.eellm.bench.ServerClient.Answer;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.ApiException;

/**
 * Loads running servers: by clients that each ask again when they have their answer, or by requests
 * that arrive at random (Poisson), whether those before are done or not.
 *
 * <p>Clients alone send {@link MixedRequests}, which check each answer. Where requests arrive, all
 * are {@link EqualTexts}: clients ask first, which gives the highest throughput, the second time
 * that they do; then requests arrive at shares of it. Servers take turns, each at shares of its own
 * throughput and with the same requests.
 */
public final class LoadBenchmark {
  private static final String RUNNING = "eellm_texts_running";
  private static final String QUEUED = "eellm_texts_queued";
  private static final String CACHE = "eellm_cache_tokens_in_use";
  private static final String MEMORY = "process_resident_memory_bytes";
  private static final Set<Outcome> UNANSWERED = Set.of(Outcome.TURNED_AWAY, Outcome.FAILED);

  private final Options options;
  private final ServerClient client;
  private final ExecutorService threads;
  private final Requests requests;
  private final List<Load> loads = new ArrayList<>();
  private Optional<Held> held = Optional.empty();

  /**
   * The loads to put on the servers.
   *
   * @param urls the servers, as in {@code http://127.0.0.1:8000}
   * @param clients that ask without a pause
   * @param duration of each load
   * @param arrivals shares of the highest throughput at which requests arrive; none for clients
   *     alone
   * @param words of a prompt that arrives
   * @param longWords of every tenth of these; 0 if all are of the same length
   * @param maxTokens of the longest texts; texts that arrive all have as many
   */
  public record Options(
      List<String> urls,
      Optional<String> apiKey,
      int clients,
      Duration duration,
      List<Double> arrivals,
      int words,
      int longWords,
      int maxTokens,
      long seed) {
    public Options {
      urls = List.copyOf(urls);
      arrivals = List.copyOf(arrivals);
    }
  }

  /**
   * The results of one server.
   *
   * @param held of mixed requests
   */
  public record Report(String url, List<Load> loads, Optional<Held> held) {
    public Report {
      loads = List.copyOf(loads);
    }

    /** Whether everybody got what was due, and nothing is held for those who have gone. */
    public boolean isSound() {
      return loads.stream().allMatch(Load::isSound) && held.stream().allMatch(Held::isNothing);
    }
  }

  /**
   * The answers to all requests of a load. Times are the clients', in seconds, from the moment at
   * which a request was to be sent.
   *
   * @param share of the highest throughput at which requests arrived; 0 for clients
   * @param requestsPerSecond that arrived, or that clients got an answer to
   * @param outcomes how many requests had each
   * @param firstFailure the first that was not as it should be
   * @param firstToken of all but long prompts, as what follows
   * @param gap between two parts of a text
   */
  public record Load(
      double share,
      double seconds,
      double requestsPerSecond,
      Map<Outcome, Long> outcomes,
      Optional<String> firstFailure,
      double tokensPerSecond,
      Percentiles firstToken,
      Percentiles gap,
      Percentiles wholeText) {

    /** How many requests had an outcome. */
    public long count(Outcome outcome) {
      return outcomes.getOrDefault(outcome, 0L);
    }

    /** Whether everybody got what was due. */
    public boolean isSound() {
      return count(Outcome.WRONG_TEXT) + count(Outcome.WRONG_STATUS) + count(Outcome.FAILED) == 0
          && (share == 0 || count(Outcome.TURNED_AWAY) == 0);
    }
  }

  /** The outcome of a request. */
  public enum Outcome {
    /** Answered whole. */
    TEXT,
    /** Answered whole, to a long prompt. */
    LONG_TEXT,
    /** A whole text, but not what the server answers to the same request alone. */
    WRONG_TEXT,
    /** The client went away amid its text. */
    LEFT,
    /** A bad request got the status that is its due. */
    REFUSED,
    /** A bad request got another. */
    WRONG_STATUS,
    /** A good request was told to come back later (429). */
    TURNED_AWAY,
    /** A good request was not answered, or with an error. */
    FAILED;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', ' ');
    }
  }

  /**
   * The work and memory that a server of eellm holds when clients have gone.
   *
   * @param textsRunning half a minute after the last client's end at most
   * @param memoryBefore bytes of the server's process when a quarter of the time was over
   * @param memoryAfter at the end
   */
  public record Held(
      long textsRunning,
      long textsQueued,
      long cacheTokensInUse,
      long memoryBefore,
      long memoryAfter) {
    boolean isNothing() {
      return textsRunning + textsQueued + cacheTokensInUse == 0;
    }
  }

  /** In seconds. */
  public record Percentiles(double p50, double p95, double p99, double max) {
    static Percentiles of(DoubleStream values) {
      double[] sorted = values.sorted().toArray();
      return sorted.length == 0
          ? new Percentiles(0, 0, 0, 0)
          : new Percentiles(at(sorted, 0.5), at(sorted, 0.95), at(sorted, 0.99), at(sorted, 1));
    }

    private static double at(double[] sorted, double share) {
      return sorted[Math.max(0, (int) Math.ceil(share * sorted.length) - 1)];
    }
  }

  /** The requests that clients send. */
  interface Requests {
    /**
     * Sends a request, and reads what it gets.
     *
     * @param start {@link System#nanoTime} from which on times count
     */
    Answer ask(int number, long start) throws IOException, InterruptedException;
  }

  private LoadBenchmark(Options options, ServerClient client, ExecutorService threads) {
    this.options = options;
    this.client = client;
    this.threads = threads;
    requests =
        options.arrivals().isEmpty()
            ? MixedRequests.of(client, options.maxTokens(), options.seed())
            : EqualTexts.of(client, options);
  }

  /**
   * Runs.
   *
   * @return a report of each server, in order
   * @throws ServeException if a server cannot be reached, or does not answer a single client
   */
  public static List<Report> run(Options options) {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
        HttpClient http = ServerClient.http(threads)) {
      List<LoadBenchmark> servers =
          options.urls().stream()
              .map(url -> new ServerClient(http, url, options.apiKey()))
              .map(client -> new LoadBenchmark(options, client, threads))
              .toList();
      for (LoadBenchmark server : servers) {
        server.letClientsAsk();
      }
      for (int i = 0; i < options.arrivals().size(); i++) {
        for (LoadBenchmark server : servers) {
          server.letArrive(options.arrivals().get(i), options.seed() + i);
        }
      }
      return servers.stream()
          .map(server -> new Report(server.client.url(), server.loads, server.held))
          .toList();
    } catch (InterruptedException e) {
      throw ServerClient.interrupted(e);
    }
  }

  private void letClientsAsk() throws InterruptedException {
    if (options.arrivals().isEmpty()) {
      CompletableFuture<Long> memoryBefore =
          CompletableFuture.supplyAsync(
              () -> metric(MEMORY),
              CompletableFuture.delayedExecutor(
                  options.duration().toMillis() / 4, TimeUnit.MILLISECONDS, threads));
      loads.add(clients());
      held = Optional.of(held(memoryBefore));
    } else {
      clients(); // a cold server is slower
      loads.add(clients());
    }
  }

  private Held held(CompletableFuture<Long> memoryBefore) throws InterruptedException {
    for (int i = 0; i < 60 && metric(RUNNING) + metric(QUEUED) + metric(CACHE) > 0; i++) {
      Thread.sleep(500);
    }
    return new Held(
        metric(RUNNING), metric(QUEUED), metric(CACHE), memoryBefore.join(), metric(MEMORY));
  }

  private Load clients() throws InterruptedException {
    long start = System.nanoTime();
    long end = start + options.duration().toNanos();
    AtomicInteger next = new AtomicInteger();
    Callable<List<Answer>> one =
        () -> {
          List<Answer> answers = new ArrayList<>();
          while (System.nanoTime() < end) {
            Answer answer = ask(next.getAndIncrement(), System.nanoTime());
            answers.add(answer);
            if (UNANSWERED.contains(answer.outcome())) {
              Thread.sleep(1000);
            }
          }
          return answers;
        };
    List<Answer> answers =
        threads.invokeAll(Collections.nCopies(options.clients(), one)).stream()
            .flatMap(client -> client.resultNow().stream())
            .toList();
    long answered = answers.stream().filter(each -> !UNANSWERED.contains(each.outcome())).count();
    return load(0, start, answers, seconds -> answered / seconds);
  }

  private void letArrive(double share, long seed) throws InterruptedException {
    double rate = share * loads.getFirst().requestsPerSecond();
    List<Callable<Answer>> coming = new ArrayList<>();
    long start = System.nanoTime();
    for (double moment : arrivalTimes(rate, options.duration().toNanos() / 1e9, seed)) {
      int number = coming.size();
      long arrival = start + (long) (moment * 1e9);
      coming.add(
          () -> {
            Thread.sleep(Duration.ofNanos(Math.max(0, arrival - System.nanoTime())));
            return ask(number, arrival);
          });
    }
    List<Answer> answers = threads.invokeAll(coming).stream().map(Future::resultNow).toList();
    loads.add(load(share, start, answers, _ -> rate));
  }

  /**
   * The times at which requests arrive, in seconds from the beginning.
   *
   * @param rate requests a second
   */
  static List<Double> arrivalTimes(double rate, double seconds, long seed) {
    SplittableRandom random = new SplittableRandom(seed);
    List<Double> arrivalTimes = new ArrayList<>();
    double at = 0;
    while (true) {
      at -= Math.log(1 - random.nextDouble()) / rate;
      if (at >= seconds) {
        return arrivalTimes;
      }
      arrivalTimes.add(at);
    }
  }

  private Answer ask(int number, long start) throws InterruptedException {
    try {
      return requests.ask(number, start);
    } catch (IOException | ServeException | ApiException e) {
      return Answer.failure(Outcome.FAILED, e.toString());
    }
  }

  /**
   * Sums up.
   *
   * @param rate requests a second, given the seconds until all were answered
   */
  static Load load(double share, long start, List<Answer> answers, DoubleUnaryOperator rate) {
    double seconds = (System.nanoTime() - start) / 1e9;
    Map<Outcome, Long> outcomes = new EnumMap<>(Outcome.class);
    answers.forEach(answer -> outcomes.merge(answer.outcome(), 1L, Long::sum));
    List<Answer> usual =
        answers.stream().filter(answer -> answer.outcome() != Outcome.LONG_TEXT).toList();
    return new Load(
        share,
        seconds,
        rate.applyAsDouble(seconds),
        outcomes,
        answers.stream().flatMap(answer -> answer.failure().stream()).findFirst(),
        answers.stream().mapToLong(Answer::tokens).sum() / seconds,
        Percentiles.of(
            usual.stream()
                .flatMap(answer -> answer.times().stream().limit(1))
                .mapToDouble(time -> time)),
        Percentiles.of(usual.stream().flatMapToDouble(Answer::gaps)),
        Percentiles.of(usual.stream().flatMapToDouble(answer -> answer.seconds().stream())));
  }

  private long metric(String name) {
    return client
        .get("/metrics")
        .lines()
        .filter(line -> line.startsWith(name + " "))
        .mapToLong(line -> (long) Double.parseDouble(line.substring(name.length() + 1)))
        .findFirst()
        .orElse(0);
  }
}
