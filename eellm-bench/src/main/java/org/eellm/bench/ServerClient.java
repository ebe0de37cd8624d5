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
import java.util.concurrent.ExecutorService;
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
   * A text that came in parts.
   *
   * @param times of the parts that are not empty, in seconds
   * @param tokens that the server counts; 0 if the client left
   */
  record StreamedText(String text, List<Double> times, int tokens) {}

  /** What sends the requests of all clients. */
  static HttpClient http(ExecutorService threads) {
    return HttpClient.newBuilder()
        .version(HttpClient.Version.HTTP_1_1)
        .executor(threads)
        .connectTimeout(Duration.ofSeconds(10))
        .build();
  }

  HttpRequest.Builder request(String path) {
    HttpRequest.Builder builder =
        HttpRequest.newBuilder(URI.create(url + path)).timeout(Duration.ofMinutes(10));
    apiKey.ifPresent(key -> builder.header("Authorization", "Bearer " + key));
    return builder;
  }

  /** A request for a text. */
  HttpRequest completion(ObjectNode body) {
    return request("/v1/completions")
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofByteArray(HttpJson.bytes(body)))
        .build();
  }

  /** Answers in full, whatever their status. */
  HttpResponse<String> send(HttpRequest request) {
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

  /** What the server says of its model. */
  JsonNode model() {
    return json(get("/v1/models")).path("data").path(0);
  }

  /** The beginning of a text that comes in parts. */
  HttpResponse<InputStream> begin(ObjectNode body) throws IOException, InterruptedException {
    body.put("stream", true).putObject("stream_options").put("include_usage", true);
    return client.send(completion(body), BodyHandlers.ofInputStream());
  }

  /**
   * Reads the rest.
   *
   * @param start {@link System#nanoTime} from which on times count
   * @param leaves whether the client goes after the first part
   * @throws IOException if the text is refused, or fails
   */
  static StreamedText read(HttpResponse<InputStream> response, long start, boolean leaves)
      throws IOException {
    try (BufferedReader lines =
        new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8))) {
      if (response.statusCode() != 200) {
        throw new IOException("status " + response.statusCode() + ": " + lines.readLine());
      }
      StringBuilder text = new StringBuilder();
      List<Double> times = new ArrayList<>();
      int tokens = 0;
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (line.equals("data: [DONE]") || leaves && !times.isEmpty()) {
          return new StreamedText(text.toString(), times, tokens);
        }
        if (line.startsWith("data: ")) {
          JsonNode part = json(line.substring("data: ".length()));
          if (part.has("error")) {
            throw new IOException(part.path("error").path("message").asText());
          }
          String piece = part.path("choices").path(0).path("text").asText();
          if (!piece.isEmpty()) {
            times.add((System.nanoTime() - start) / 1e9);
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

  static ServeException interrupted(InterruptedException e) {
    Thread.currentThread().interrupt();
    return new ServeException("interrupted", e);
  }
}
