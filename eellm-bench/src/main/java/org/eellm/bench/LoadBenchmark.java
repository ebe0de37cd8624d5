package org.eellm.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.IntStream;
import org.eellm.bench.ServerClient.StreamedText;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/**
 * Many clients at a running server at once: most want texts of mixed lengths, some leave amid
 * theirs, some send bad requests. Each text is compared with what the server answered to the same
 * request when it had nothing else to do.
 */
public final class LoadBenchmark {
  private static final int DIFFERENT_REQUESTS = 24;
  private static final String WORDS =
      "Once upon a time there was an old house by the sea, and in it lived a captain who had seen"
          + " many lands, a cook who had seen none, and a cat that thought little of either. ";
  private static final String RUNNING = "eellm_texts_running";
  private static final String QUEUED = "eellm_texts_queued";
  private static final String CACHE = "eellm_cache_tokens_in_use";
  private static final String MEMORY = "process_resident_memory_bytes";

  private final Options options;
  private final ServerClient client;
  private final List<ObjectNode> requests = new ArrayList<>();
  private final List<String> answers = new ArrayList<>();
  private final List<BadRequest> badRequests;
  private final String model;

  /**
   * What to do.
   *
   * @param url the server, as in {@code http://127.0.0.1:8000}
   * @param clients at once
   * @param maxTokens of the longest texts
   */
  public record Options(
      String url,
      Optional<String> apiKey,
      int clients,
      Duration duration,
      int maxTokens,
      long seed) {}

  /**
   * The results. Times are the clients', in seconds.
   *
   * @param texts answered whole
   * @param wrongTexts that differ from the server's answer to the same request alone
   * @param left clients that went away amid their text
   * @param refused bad requests that were refused with the status that is theirs
   * @param wrongStatus bad requests that were not
   * @param turnedAway good requests that were told to come back later (429)
   * @param failed good requests that were not answered, or with an error
   * @param firstFailure the first of these, or of the wrong ones
   * @param stillRunning texts in work half a minute after the last client's end at most
   * @param cacheTokensInUse of the same moment
   * @param memoryBefore bytes of the server's process when a quarter of the time was over
   * @param memoryAfter at the end
   */
  public record Report(
      int clients,
      double seconds,
      int texts,
      int wrongTexts,
      int left,
      int refused,
      int wrongStatus,
      int turnedAway,
      int failed,
      Optional<String> firstFailure,
      long tokens,
      double tokensPerSecond,
      Percentiles firstToken,
      Percentiles wholeText,
      int stillRunning,
      int stillQueued,
      long cacheTokensInUse,
      long memoryBefore,
      long memoryAfter) {

    /** Whether everybody got what was due, and nothing is held for those who have gone. */
    public boolean isSound() {
      return wrongTexts + wrongStatus + failed + stillRunning + stillQueued == 0
          && cacheTokensInUse == 0;
    }
  }

  /** In seconds. */
  public record Percentiles(double p50, double p95, double p99, double max) {
    static Percentiles of(List<Double> values) {
      double[] sorted = values.stream().mapToDouble(Double::doubleValue).sorted().toArray();
      return sorted.length == 0
          ? new Percentiles(0, 0, 0, 0)
          : new Percentiles(at(sorted, 0.5), at(sorted, 0.95), at(sorted, 0.99), at(sorted, 1));
    }

    private static double at(double[] sorted, double share) {
      return sorted[Math.max(0, (int) Math.ceil(share * sorted.length) - 1)];
    }
  }

  /** A request that is to be refused, and with which status. */
  private record BadRequest(
      String name, String method, String path, String type, byte[] body, List<Integer> statuses) {
    static BadRequest post(String name, String body, Integer... statuses) {
      return new BadRequest(
          name,
          "POST",
          "/v1/completions",
          "application/json",
          body.getBytes(StandardCharsets.UTF_8),
          List.of(statuses));
    }
  }

  /** What one client has seen. */
  private static final class ClientStats {
    private final List<Double> firstTokens = new ArrayList<>();
    private final List<Double> wholeTexts = new ArrayList<>();
    private final List<String> failures = new ArrayList<>();
    private int texts;
    private int wrongTexts;
    private int left;
    private int refused;
    private int wrongStatus;
    private int turnedAway;
    private int failed;
    private long tokens;
  }

  private LoadBenchmark(Options options, ServerClient client) {
    this.options = options;
    this.client = client;
    JsonNode served = client.model();
    model = served.path("id").asText();
    int context = served.path("max_model_len").asInt();
    boolean exits = !served.path("early_exit").path("exits").isEmpty();
    SplittableRandom random = new SplittableRandom(options.seed());
    for (int i = 0; i < DIFFERENT_REQUESTS; i++) {
      requests.add(request(random, i, context, exits));
    }
    badRequests = badRequests(context);
  }

  /**
   * Runs.
   *
   * @throws ServeException if the server cannot be reached, or does not answer a single client
   */
  public static Report run(Options options) {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
        HttpClient http = ServerClient.http(threads)) {
      LoadBenchmark load =
          new LoadBenchmark(options, new ServerClient(http, options.url(), options.apiKey()));
      load.askOneByOne();
      return load.askAllAtOnce(threads);
    }
  }

  /** A text of some length from a prompt of some length; a token is a byte at least. */
  private ObjectNode request(SplittableRandom random, int number, int context, boolean exits) {
    int begin = random.nextInt(WORDS.length() / 2);
    int length = random.nextInt(4, Math.max(5, context / 2));
    String prompt = WORDS.repeat(1 + length / WORDS.length() + 1).substring(begin, begin + length);
    ObjectNode body = HttpJson.object();
    body.put("model", model);
    body.put("prompt", prompt);
    body.put(
        "max_tokens",
        random.nextInt(1, Math.max(2, Math.min(options.maxTokens(), context / 3)) + 1));
    body.put("temperature", number % 2 == 0 ? 0 : 0.8);
    body.put("seed", number);
    body.put("logprobs", 0); // an event for each token
    if (exits && number % 3 > 0) {
      ObjectNode earlyExit = body.putObject("early_exit");
      if (number % 3 == 1) {
        earlyExit.put("mode", "full");
      } else {
        earlyExit.put("policy", "max-probability").put("threshold", 0.5);
      }
    }
    return body;
  }

  private static List<BadRequest> badRequests(int context) {
    String field = "{\"prompt\": \"a\", \"%s\": %s}";
    return List.of(
        BadRequest.post("no JSON", "{\"prompt\": \"a", 400),
        BadRequest.post("a prompt that is a number", "{\"prompt\": 5}", 400),
        BadRequest.post(
            "a temperature that is a text", field.formatted("temperature", "\"hot\""), 400),
        BadRequest.post("a temperature of 99", field.formatted("temperature", "99"), 400),
        BadRequest.post("more tokens than fit", field.formatted("max_tokens", "1000000000"), 400),
        BadRequest.post("an unknown field", field.formatted("temprature", "1"), 400),
        BadRequest.post(
            "an unknown exit", field.formatted("early_exit", "{\"exits\": [999]}"), 400),
        BadRequest.post("an unknown model", field.formatted("model", "\"no-such-model\""), 404),
        BadRequest.post(
            "a prompt of 1 MB",
            HttpJson.object().put("prompt", "word ".repeat(Math.max(context, 200_000))).toString(),
            400,
            413),
        BadRequest.post(
            "a body of 6 MB", "{\"prompt\": \"" + "a".repeat(6 << 20) + "\"}", 400, 413),
        new BadRequest(
            "bytes that are no text",
            "POST",
            "/v1/completions",
            "application/json",
            new byte[] {'{', '"', (byte) 0xFF, '"', ':', '1', '}'},
            List.of(400)),
        new BadRequest(
            "another type",
            "POST",
            "/v1/completions",
            "text/plain",
            new byte[] {'a'},
            List.of(415)),
        new BadRequest(
            "another method",
            "PUT",
            "/v1/completions",
            "application/json",
            new byte[0],
            List.of(405)),
        new BadRequest(
            "an unknown path",
            "POST",
            "/v1/nothing",
            "application/json",
            new byte[0],
            List.of(404)));
  }

  private void askOneByOne() {
    for (ObjectNode body : requests) {
      HttpResponse<String> response = client.send(client.completion(body));
      if (response.statusCode() != 200) {
        throw new ServeException(
            "%s answers %d to a single client: %s"
                .formatted(options.url(), response.statusCode(), Fields.line(response.body())));
      }
      answers.add(ServerClient.json(response.body()).path("choices").path(0).path("text").asText());
    }
  }

  private Report askAllAtOnce(ExecutorService threads) {
    long start = System.nanoTime();
    long end = start + options.duration().toNanos();
    SplittableRandom seeds = new SplittableRandom(options.seed() + 1);
    List<Future<ClientStats>> clients = new ArrayList<>();
    for (int i = 0; i < options.clients(); i++) {
      SplittableRandom random = seeds.split();
      clients.add(threads.submit(() -> work(random, end)));
    }
    sleep(options.duration().dividedBy(4));
    long memoryBefore = metric(MEMORY);
    List<ClientStats> seen = clients.stream().map(LoadBenchmark::outcome).toList();
    double seconds = (System.nanoTime() - start) / 1e9;
    awaitIdle();
    long tokens = seen.stream().mapToLong(one -> one.tokens).sum();
    return new Report(
        options.clients(),
        seconds,
        seen.stream().mapToInt(one -> one.texts).sum(),
        seen.stream().mapToInt(one -> one.wrongTexts).sum(),
        seen.stream().mapToInt(one -> one.left).sum(),
        seen.stream().mapToInt(one -> one.refused).sum(),
        seen.stream().mapToInt(one -> one.wrongStatus).sum(),
        seen.stream().mapToInt(one -> one.turnedAway).sum(),
        seen.stream().mapToInt(one -> one.failed).sum(),
        seen.stream().flatMap(one -> one.failures.stream()).findFirst(),
        tokens,
        tokens / seconds,
        Percentiles.of(seen.stream().flatMap(one -> one.firstTokens.stream()).toList()),
        Percentiles.of(seen.stream().flatMap(one -> one.wholeTexts.stream()).toList()),
        (int) metric(RUNNING),
        (int) metric(QUEUED),
        metric(CACHE),
        memoryBefore,
        metric(MEMORY));
  }

  private static ClientStats outcome(Future<ClientStats> client) {
    try {
      return client.get();
    } catch (InterruptedException e) {
      throw ServerClient.interrupted(e);
    } catch (ExecutionException e) {
      throw new IllegalStateException("a client failed", e.getCause());
    }
  }

  /** One client, until the time is over. */
  private ClientStats work(SplittableRandom random, long end) {
    ClientStats seen = new ClientStats();
    while (System.nanoTime() < end) {
      int choice = random.nextInt(10);
      try {
        if (choice == 0) {
          sendBadRequest(badRequests.get(random.nextInt(badRequests.size())), seen);
        } else {
          readStream(random.nextInt(requests.size()), choice == 1, seen);
        }
      } catch (IOException | ServeException e) {
        seen.failed++;
        seen.failures.add(e.toString());
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return seen;
      }
    }
    return seen;
  }

  private void sendBadRequest(BadRequest bad, ClientStats seen) {
    HttpRequest request =
        client
            .request(bad.path())
            .header("Content-Type", bad.type())
            .method(bad.method(), BodyPublishers.ofByteArray(bad.body()))
            .build();
    HttpResponse<String> response = client.send(request);
    if (bad.statuses().contains(response.statusCode())
        && ServerClient.json(response.body()).path("error").path("message").isTextual()) {
      seen.refused++;
    } else {
      seen.wrongStatus++;
      seen.failures.add(
          "%s: status %d, not %s".formatted(bad.name(), response.statusCode(), bad.statuses()));
    }
  }

  /**
   * @param leaves whether the client goes after a token
   */
  private void readStream(int number, boolean leaves, ClientStats seen)
      throws IOException, InterruptedException {
    long start = System.nanoTime();
    HttpResponse<InputStream> response = client.begin(requests.get(number).deepCopy());
    if (response.statusCode() == 429) {
      response.body().close();
      seen.turnedAway++;
      Thread.sleep(1000);
      return;
    }
    StreamedText text = ServerClient.read(response, start, leaves);
    seen.tokens += text.tokens();
    text.times().stream().limit(1).forEach(seen.firstTokens::add);
    if (leaves) {
      seen.left++;
    } else {
      seen.texts++;
      seen.wholeTexts.add((System.nanoTime() - start) / 1e9);
      check(number, text.text(), seen);
    }
  }

  private void check(int number, String text, ClientStats seen) {
    if (!text.equals(answers.get(number))) {
      seen.wrongTexts++;
      seen.failures.add(
          "request %d: '%s' alone, '%s' among others"
              .formatted(number, Fields.line(answers.get(number)), Fields.line(text)));
    }
  }

  private void awaitIdle() {
    IntStream.range(0, 60)
        .takeWhile(i -> metric(RUNNING) + metric(QUEUED) + metric(CACHE) > 0)
        .forEach(i -> sleep(Duration.ofMillis(500)));
  }

  private static void sleep(Duration duration) {
    try {
      Thread.sleep(duration);
    } catch (InterruptedException e) {
      throw ServerClient.interrupted(e);
    }
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
