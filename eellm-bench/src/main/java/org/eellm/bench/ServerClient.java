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
import java.util.OptionalDouble;
import java.util.concurrent.ExecutorService;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;
import org.eellm.bench.LoadBenchmark.Outcome;
import org.eellm.serve.ServeException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/**
 * A running server that speaks OpenAI's API, as the clients of benchmarks ask it.
 *
 * @param url as in {@code http://127.0.0.1:8000}
 */
record ServerClient(HttpClient client, String url, Optional<String> apiKey) {

  /**
   * The answer to a request.
   *
   * @param text empty where there is none
   * @param times of the text's parts that are not empty, in seconds
   * @param seconds to the end of a whole text
   * @param tokens that the server counts; 0 if the client left
   */
  record Answer(
      Outcome outcome,
      String text,
      List<Double> times,
      OptionalDouble seconds,
      int tokens,
      Optional<String> failure) {

    /** An answer without a text. */
    static Answer without(Outcome outcome) {
      return new Answer(outcome, "", List.of(), OptionalDouble.empty(), 0, Optional.empty());
    }

    /** An answer that is not as it should be. */
    static Answer failure(Outcome outcome, String why) {
      return new Answer(outcome, "", List.of(), OptionalDouble.empty(), 0, Optional.of(why));
    }

    /** This text, which should be another. */
    Answer wrong(String why) {
      return new Answer(Outcome.WRONG_TEXT, text, times, seconds, tokens, Optional.of(why));
    }

    /** Seconds between the text's parts. */
    DoubleStream gaps() {
      return IntStream.range(1, times.size()).mapToDouble(i -> times.get(i) - times.get(i - 1));
    }
  }

  /** The HTTP client that sends the requests of all clients. */
  static HttpClient http(ExecutorService threads) {
    return HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1)
        .executor(threads)
        .connectTimeout(Duration.ofSeconds(10))
        .build();
  }

  private HttpRequest.Builder request(String path) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofMinutes(10));
    apiKey.ifPresent(key -> builder.header("Authorization", "Bearer " + key));
    return builder;
  }

  /** A request for a text. */
  private HttpRequest completion(byte[] body) {
    return request("/v1/completions")
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofByteArray(body))
        .build();
  }

  /** A text, or its refusal. */
  HttpResponse<String> complete(byte[] body) {
    return send(completion(body));
  }

  /** Answers in full, whatever their status. */
  private HttpResponse<String> send(HttpRequest request) {
    try {
      return client.send(request, BodyHandlers.ofString());
    } catch (IOException e) {
      throw new ServeException(
          "%s cannot be reached (%s); start eellm serve there".formatted(url, e), e);
    } catch (InterruptedException e) {
      throw interrupted(e);
    }
  }

  /** The body of an answer that is no refusal. */
  String get(String path) {
    HttpResponse<String> response = send(request(path).build());
    if (response.statusCode() != 200) {
      throw new ServeException(
          "%s answers %d to GET %s: %s"
              .formatted(url, response.statusCode(), path, Fields.line(response.body())));
    }
    return response.body();
  }

  /** The first model that the server lists. */
  JsonNode model() {
    return json(get("/v1/models")).path("data").path(0);
  }

  /** Asks for a text that comes in parts. */
  HttpResponse<InputStream> begin(ObjectNode body) throws IOException, InterruptedException {
    body.put("stream", true).putObject("stream_options").put("include_usage", true);
    return client.send(completion(HttpJson.bytes(body)), BodyHandlers.ofInputStream());
  }

  /**
   * Reads the parts.
   *
   * @param start {@link System#nanoTime} from which on times count
   * @param outcome of a text without failures; a client that leaves goes after the first part
   * @throws IOException if the text is refused, or fails
   */
  static Answer read(HttpResponse<InputStream> response, long start, Outcome outcome)
      throws IOException {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8))) {
      if (response.statusCode() == 429) {
        return Answer.without(Outcome.TURNED_AWAY);
      }
      if (response.statusCode() != 200) {
        throw new IOException("status " + response.statusCode() + ": " + lines.readLine());
      }
      boolean leaves = outcome == Outcome.LEFT;
      StringBuilder text = new StringBuilder();
      List<Double> times = new ArrayList<>();
      int tokens = 0;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.equals("data: [DONE]") || leaves && !times.isEmpty()) {
          return new Answer(
              outcome,
              text.toString(),
              times,
              leaves ? OptionalDouble.empty() : OptionalDouble.of(since(start)),
              tokens,
              Optional.empty());
        }
        if (line.startsWith("data: ")) {
          JsonNode part = json(line.substring("data: ".length()));
          if (part.has("error")) {
            throw new IOException(part.path("error").path("message").asText());
          }
          String piece = part.path("choices").path(0).path("text").asText();
          if (!piece.isEmpty()) {
            times.add(since(start));
          }
          text.append(piece);
          tokens = part.path("usage").path("completion_tokens").asInt(tokens);
        }
      }
      throw new IOException("the stream ended before its end");
    }
  }

  static JsonNode json(String text) {
    return HttpJson.read(text.getBytes(StandardCharsets.UTF_8));
  }

  private static double since(long start) {
    return (System.nanoTime() - start) / 1e9;
  }

  static ServeException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return new ServeException("interrupted", e);
  }
}
