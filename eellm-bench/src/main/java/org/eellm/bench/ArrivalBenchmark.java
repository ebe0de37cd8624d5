package org.eellm.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.http.HttpClient;
import java.net.http.HttpResponse;
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
import org.eellm.bench.ServerClient.StreamedText;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

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

  /** A server that takes its turn, and what it calls its model. */
  private record Server(ServerClient client, String model) {
    String url() {
      return client.url();
    }
  }

  private ArrivalBenchmark(Options options, ExecutorService threads) {
    this.options = options;
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
        HttpClient http = ServerClient.http(threads)) {
      List<Server> servers =
          options.urls().stream()
              .map(url -> new ServerClient(http, url, options.apiKey()))
              .map(client -> new Server(client, client.model().path("id").asText()))
              .toList();
      return new ArrivalBenchmark(options, threads).takeTurns(servers);
    }
  }

  private List<Report> takeTurns(List<Server> servers) {
    servers.forEach(this::alone);
    List<double[]> highest = new ArrayList<>();
    List<List<Load>> loads = new ArrayList<>();
    for (Server server : servers) {
      closedLoop(server); // a cold server is slower
      highest.add(closedLoop(server));
      loads.add(new ArrayList<>());
    }
    for (int share = 0; share < options.shares().size(); share++) {
      for (int i = 0; i < servers.size(); i++) {
        double part = options.shares().get(share);
        double rate = part * highest.get(i)[0];
        loads.get(i).add(openLoop(servers.get(i), part, rate, options.seed() + share));
      }
    }
    List<Report> reports = new ArrayList<>();
    for (int i = 0; i < servers.size(); i++) {
      double[] most = highest.get(i);
      reports.add(new Report(options.urls().get(i), most[0], most[1], loads.get(i)));
    }
    return reports;
  }

  private void alone(Server server) {
    try {
      ask(server, 0, System.nanoTime());
    } catch (IOException e) {
      throw new ServeException(
          "%s answers a single client with %s".formatted(server.url(), e.getMessage()), e);
    } catch (InterruptedException e) {
      throw ServerClient.interrupted(e);
    }
  }

  /** Requests and tokens a second of clients that ask without a pause. */
  private double[] closedLoop(Server server) {
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
                  done[1] += ask(server, next.getAndIncrement(), System.nanoTime()).tokens();
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
                .formatted(
                    server.url(), options.clients(), Fields.line(String.valueOf(e.getCause()))),
            e);
      } catch (InterruptedException e) {
        throw ServerClient.interrupted(e);
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

  private Load openLoop(Server server, double share, double rate, long seed) {
    List<Future<Answer>> coming = new ArrayList<>();
    long start = System.nanoTime();
    for (double moment : arrivalTimes(rate, options.duration().toNanos() / 1e9, seed)) {
      int number = coming.size();
      long arrival = start + (long) (moment * 1e9);
      coming.add(
          threads.submit(
              () -> {
                Thread.sleep(Duration.ofNanos(Math.max(0, arrival - System.nanoTime())));
                return ask(server, number, arrival);
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
        throw ServerClient.interrupted(e);
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
    ObjectNode body = HttpJson.object();
    body.put("model", model);
    body.put("prompt", prompt.toString());
    body.put("max_tokens", options.maxTokens());
    body.put("temperature", 0);
    body.put("ignore_eos", true);
    return body;
  }

  private boolean isLong(int number) {
    return options.longWords() > 0 && number % 10 == 5;
  }

  /**
   * @param arrival when the request was to arrive
   */
  private Answer ask(Server server, int number, long arrival)
      throws IOException, InterruptedException {
    StreamedText text =
        ServerClient.read(begin(server.client(), body(server.model(), number)), arrival, false);
    List<Double> times = text.times();
    List<Double> gaps = new ArrayList<>();
    for (int i = 1; i < times.size(); i++) {
      gaps.add(times.get(i) - times.get(i - 1));
    }
    double first = times.isEmpty() ? 0 : times.getFirst();
    return new Answer(isLong(number), first, gaps, text.tokens());
  }

  /** Asks once more where a server has closed a connection that nobody used for a while. */
  private static HttpResponse<InputStream> begin(ServerClient client, ObjectNode body)
      throws IOException, InterruptedException {
    try {
      return client.begin(body);
    } catch (IOException closed) {
      return client.begin(body);
    }
  }
}
