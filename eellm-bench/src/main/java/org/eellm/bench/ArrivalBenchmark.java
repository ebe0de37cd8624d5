package org.eellm.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
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
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.bench.LoadBenchmark.Percentiles;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.Json;

/**
 * How long clients of a running server wait who come whenever they like. First some ask without a
 * pause, which gives the highest throughput, the second time that they do; then requests arrive at
 * random (Poisson) at shares of it, whether those before are done or not. Several servers that
 * speak OpenAI's API take turns, each at shares of its own throughput and with the same requests.
 */
public final class ArrivalBenchmark {
  private static final List<String> WORDS =
      List.of("the", "house", "by", "sea", "and", "a", "captain", "who", "had", "seen", "many");

  private final Options options;
  private final HttpClient client;
  private final ExecutorService threads;

  /**
   * What to do.
   *
   * @param urls the servers, as in {@code http://127.0.0.1:8000}
   * @param clients that ask without a pause
   * @param duration of each load
   * @param shares of the highest throughput
   * @param words of a prompt
   * @param longWords of every tenth prompt; 0 if all are of the same length
   * @param maxTokens of each text, which is as long
   */
  public record Options(
      List<String> urls,
      Optional<String> apiKey,
      int clients,
      Duration duration,
      List<Double> shares,
      int words,
      int longWords,
      int maxTokens,
      long seed) {
    public Options {
      urls = List.copyOf(urls);
      shares = List.copyOf(shares);
    }
  }

  /**
   * The results of one server.
   *
   * @param requestsPerSecond of clients that ask without a pause
   * @param tokensPerSecond of the same
   */
  public record Report(
      String url, double requestsPerSecond, double tokensPerSecond, List<Load> loads) {
    public Report {
      loads = List.copyOf(loads);
    }
  }

  /**
   * The results of requests that arrived at random. Times are the clients', in seconds, from the
   * moment at which the request was to arrive.
   *
   * @param share of the highest throughput
   * @param requestsPerSecond that arrived
   * @param requests that were answered
   * @param failed that were not
   * @param firstFailure the first of these
   * @param firstToken of prompts of usual length
   * @param gap between two parts of a text, of prompts of usual length
   * @param longFirstToken of long prompts
   */
  public record Load(
      double share,
      double requestsPerSecond,
      int requests,
      int failed,
      Optional<String> firstFailure,
      Percentiles firstToken,
      Percentiles gap,
      Percentiles longFirstToken) {}

  /** What a client saw of its text. */
  private record Answer(boolean isLong, double firstToken, List<Double> gaps, int tokens) {}

  private ArrivalBenchmark(Options options, HttpClient client, ExecutorService threads) {
    this.options = options;
    this.client = client;
    this.threads = threads;
  }

  /**
   * Runs.
   *
   * @return a report of each server, in order
   * @throws ServeException if a server cannot be reached, or does not answer a single client
   */
  public static List<Report> run(Options options) {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor();
        HttpClient client =
            HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .executor(threads)
                .connectTimeout(Duration.ofSeconds(10))
                .build()) {
      return new ArrivalBenchmark(options, client, threads).takeTurns();
    }
  }

  private List<Report> takeTurns() {
    List<String> models = new ArrayList<>();
    List<double[]> highest = new ArrayList<>();
    List<List<Load>> loads = new ArrayList<>();
    for (String url : options.urls()) {
      models.add(model(url));
      alone(url, models.getLast());
      loads.add(new ArrayList<>());
    }
    for (int i = 0; i < models.size(); i++) {
      closedLoop(options.urls().get(i), models.get(i)); // a cold server is slower
      highest.add(closedLoop(options.urls().get(i), models.get(i)));
    }
    for (int share = 0; share < options.shares().size(); share++) {
      for (int i = 0; i < models.size(); i++) {
        double part = options.shares().get(share);
        loads
            .get(i)
            .add(
                openLoop(
                    options.urls().get(i),
                    models.get(i),
                    part,
                    part * highest.get(i)[0],
                    options.seed() + share));
      }
    }
    List<Report> reports = new ArrayList<>();
    for (int i = 0; i < models.size(); i++) {
      double[] most = highest.get(i);
      reports.add(new Report(options.urls().get(i), most[0], most[1], loads.get(i)));
    }
    return reports;
  }

  private String model(String url) {
    try {
      HttpResponse<String> response =
          client.send(authorized(url, "/v1/models").build(), BodyHandlers.ofString());
      if (response.statusCode() != 200) {
        throw new ServeException(
            "%s answers %d to GET /v1/models: %s"
                .formatted(url, response.statusCode(), Fields.line(response.body())));
      }
      return json(response.body()).path("data").path(0).path("id").asText();
    } catch (IOException e) {
      throw new ServeException(
          "%s cannot be reached (%s); start a server there".formatted(url, e), e);
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
  }

  private void alone(String url, String model) {
    try {
      ask(url, model, 0, System.nanoTime());
    } catch (IOException e) {
      throw new ServeException(
          "%s answers a single client with %s".formatted(url, e.getMessage()), e);
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
  }

  /** Requests and tokens a second of clients that ask without a pause. */
  private double[] closedLoop(String url, String model) {
    long start = System.nanoTime();
    long end = start + options.duration().toNanos();
    AtomicInteger next = new AtomicInteger();
    List<Future<int[]>> clients = new ArrayList<>();
    for (int i = 0; i < options.clients(); i++) {
      clients.add(
          threads.submit(
              () -> {
                int[] done = new int[2];
                while (System.nanoTime() < end) {
                  done[1] += ask(url, model, next.getAndIncrement(), System.nanoTime()).tokens();
                  done[0]++;
                }
                return done;
              }));
    }
    long requests = 0;
    long tokens = 0;
    for (Future<int[]> one : clients) {
      try {
        int[] done = one.get();
        requests += done[0];
        tokens += done[1];
      } catch (ExecutionException e) {
        throw new ServeException(
            "%s fails at %d clients: %s"
                .formatted(url, options.clients(), Fields.line(String.valueOf(e.getCause()))),
            e);
      } catch (InterruptedException e) {
        throw interrupted(e);
      }
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return new double[] {requests / seconds, tokens / seconds};
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

  private Load openLoop(String url, String model, double share, double rate, long seed) {
    List<Future<Answer>> coming = new ArrayList<>();
    long start = System.nanoTime();
    for (double moment : arrivalTimes(rate, options.duration().toNanos() / 1e9, seed)) {
      int number = coming.size();
      long arrival = start + (long) (moment * 1e9);
      coming.add(
          threads.submit(
              () -> {
                Thread.sleep(Duration.ofNanos(Math.max(0, arrival - System.nanoTime())));
                return ask(url, model, number, arrival);
              }));
    }
    List<Answer> answers = new ArrayList<>();
    List<String> failures = new ArrayList<>();
    for (Future<Answer> one : coming) {
      try {
        answers.add(one.get());
      } catch (ExecutionException e) {
        failures.add(Fields.line(String.valueOf(e.getCause())));
      } catch (InterruptedException e) {
        throw interrupted(e);
      }
    }
    List<Answer> usual = answers.stream().filter(answer -> !answer.isLong()).toList();
    return new Load(
        share,
        rate,
        answers.size(),
        failures.size(),
        failures.stream().findFirst(),
        Percentiles.of(usual.stream().map(Answer::firstToken).toList()),
        Percentiles.of(usual.stream().flatMap(answer -> answer.gaps().stream()).toList()),
        Percentiles.of(answers.stream().filter(Answer::isLong).map(Answer::firstToken).toList()));
  }

  /** No two prompts begin alike, so that no server can reuse what it has of another. */
  private ObjectNode body(String model, int number) {
    boolean isLong = isLong(number);
    StringBuilder prompt = new StringBuilder().append(number);
    for (int i = 1; i < (isLong ? options.longWords() : options.words()); i++) {
      prompt.append(' ').append(WORDS.get((i * (number % 7 + 1) + number) % WORDS.size()));
    }
    ObjectNode body = Json.object();
    body.put("model", model);
    body.put("prompt", prompt.toString());
    body.put("max_tokens", options.maxTokens());
    body.put("temperature", 0);
    body.put("ignore_eos", true);
    body.put("stream", true);
    body.putObject("stream_options").put("include_usage", true);
    return body;
  }

  private boolean isLong(int number) {
    return options.longWords() > 0 && number % 10 == 5;
  }

  /**
   * @param arrival when the request was to arrive
   */
  private Answer ask(String url, String model, int number, long arrival)
      throws IOException, InterruptedException {
    HttpRequest request =
        authorized(url, "/v1/completions")
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofByteArray(Json.bytes(body(model, number))))
            .build();
    HttpResponse<InputStream> response = send(request);
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8))) {
      if (response.statusCode() != 200) {
        throw new IOException("status " + response.statusCode() + ": " + lines.readLine());
      }
      double first = 0;
      long last = 0;
      List<Double> gaps = new ArrayList<>();
      int tokens = 0;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.equals("data: [DONE]")) {
          return new Answer(isLong(number), first, gaps, tokens);
        }
        if (!line.startsWith("data: ")) {
          continue;
        }
        JsonNode part = json(line.substring("data: ".length()));
        if (part.has("error")) {
          throw new IOException(part.path("error").path("message").asText());
        }
        tokens = part.path("usage").path("completion_tokens").asInt(tokens);
        if (!part.path("choices").path(0).path("text").asText().isEmpty()) {
          long now = System.nanoTime();
          if (last == 0) {
            first = (now - arrival) / 1e9;
          } else {
            gaps.add((now - last) / 1e9);
          }
          last = now;
        }
      }
      throw new IOException("the stream ended before its end");
    }
  }

  /** Sends once more where a server has closed a connection that nobody used for a while. */
  private HttpResponse<InputStream> send(HttpRequest request)
      throws IOException, InterruptedException {
    try {
      return client.send(request, BodyHandlers.ofInputStream());
    } catch (IOException closed) {
      return client.send(request, BodyHandlers.ofInputStream());
    }
  }

  private HttpRequest.Builder authorized(String url, String path) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofMinutes(10));
    options.apiKey().ifPresent(key -> builder.header("Authorization", "Bearer " + key));
    return builder;
  }

  private static ServeException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return new ServeException("interrupted", e);
  }

  private static JsonNode json(String text) {
    return Json.read(text.getBytes(StandardCharsets.UTF_8));
  }
}
