package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.serve.TestServer.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Texts as vectors. */
final class EmbeddingsTest extends WithServer {
  private static final String PATH = "/v1/embeddings";

  private static JsonNode embed(String body) {
    return TestServer.answered(server.post(PATH, body));
  }

  private static double[] vector(JsonNode item) {
    double[] vector = new double[item.path("embedding").size()];
    for (int i = 0; i < vector.length; i++) {
      vector[i] = item.path("embedding").path(i).doubleValue();
    }
    return vector;
  }

  private static double[] only(String body) {
    return vector(embed(body).path("data").path(0));
  }

  /** The model's hidden states of a text after a layer, by position. */
  private static List<float[]> states(String text, int layer) {
    List<float[]> states = new ArrayList<>();
    server
        .engine
        .readHiddenStates(
            server.served.prompt(text, "input"), layer, (_, state) -> states.add(state.clone()))
        .join();
    return states;
  }

  private static double[] unit(double[] vector) {
    double squares = 0;
    for (double value : vector) {
      squares += value * value;
    }
    double[] unit = vector.clone();
    for (int i = 0; i < unit.length; i++) {
      unit[i] /= Math.sqrt(squares);
    }
    return unit;
  }

  @Test
  void embeddings_ofOneText_areTheMeanAfterTheLastLayer() {
    JsonNode reply = embed("{\"input\": \"the cat\", \"model\": \"small\", \"user\": \"me\"}");
    List<float[]> states = states("the cat", 5);
    double[] mean = new double[states.getFirst().length];
    for (float[] state : states) {
      for (int i = 0; i < mean.length; i++) {
        mean[i] += state[i];
      }
    }

    assertThat(vector(reply.path("data").path(0))).containsExactly(unit(mean), within(1e-5));
    assertThat(reply.path("object").asText()).isEqualTo("list");
    assertThat(reply.path("model").asText()).isEqualTo("small");
    assertThat(reply.path("data").path(0).path("object").asText()).isEqualTo("embedding");
    assertThat(reply.path("usage"))
        .isEqualTo(
            json("{\"prompt_tokens\": %1$d, \"total_tokens\": %1$d}".formatted(states.size())));
  }

  @Test
  void embeddings_ofALayerAndPooling_areTheLastTokensThere() {
    float[] last = states("the cat", 2).getLast();
    double[] expected = new double[last.length];
    for (int i = 0; i < last.length; i++) {
      expected[i] = last[i];
    }

    assertThat(only("{\"input\": [\"the cat\"], \"layer\": 2, \"pooling\": \"last\"}"))
        .containsExactly(unit(expected), within(1e-5));
  }

  @Test
  void embeddings_ofSeveralTexts_areThoseOfEachInItsPlace() {
    List<String> texts = List.of("the cat", "and the dog and the bird", "t");
    JsonNode reply = embed("{\"input\": [\"%s\"]}".formatted(String.join("\", \"", texts)));

    assertThat(reply.path("data")).hasSize(3);
    for (int i = 0; i < 3; i++) {
      JsonNode item = reply.path("data").path(i);
      assertThat(item.path("index").asInt()).isEqualTo(i);
      assertThat(vector(item))
          .containsExactly(only("{\"input\": \"%s\"}".formatted(texts.get(i))), within(1e-5));
    }
  }

  @Test
  void embeddings_ofIds_areThoseOfTheirText() {
    String ids = server.served.prompt("the cat", "input").toString();
    double[] expected = only("{\"input\": \"the cat\"}");

    assertThat(only("{\"input\": %s}".formatted(ids))).containsExactly(expected, within(1e-6));
    JsonNode two = embed("{\"input\": [%s, [1]]}".formatted(ids));
    assertThat(vector(two.path("data").path(0))).containsExactly(expected, within(1e-5));
    assertThat(two.path("data")).hasSize(2);
  }

  @Test
  void embeddings_inBase64_areTheSameNumbers() {
    JsonNode reply = embed("{\"input\": \"the cat\", \"encoding_format\": \"base64\"}");
    byte[] bytes =
        Base64.getDecoder().decode(reply.path("data").path(0).path("embedding").asText());
    double[] numbers = only("{\"input\": \"the cat\", \"encoding_format\": \"float\"}");

    assertThat(bytes).hasSize(4 * numbers.length);
    ByteBuffer floats = ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
    for (double number : numbers) {
      assertThat((double) floats.getFloat()).isCloseTo(number, within(1e-7));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{} | input",
        "{\"input\": null} | input",
        "{\"input\": \"\"} | input",
        "{\"input\": []} | input",
        "{\"input\": [[]]} | input",
        "{\"input\": {\"a\": 1}} | input",
        "{\"input\": [\"a\", 1]} | input[1]",
        "{\"input\": [1, \"a\"]} | input[1]",
        "{\"input\": [1, 260]} | input[1]",
        "{\"input\": [[1], [-1]]} | input[1][0]",
        "{\"input\": [[[1]]]} | input[0][0]",
        "{\"input\": \"a\", \"layer\": 0} | layer",
        "{\"input\": \"a\", \"layer\": 6} | layer",
        "{\"input\": \"a\", \"layer\": \"2\"} | layer",
        "{\"input\": \"a\", \"pooling\": \"max\"} | pooling",
        "{\"input\": \"a\", \"pooling\": 1} | pooling",
        "{\"input\": \"a\", \"encoding_format\": \"BASE64\"} | encoding_format",
        "{\"input\": \"a\", \"encoding_format\": [\"float\"]} | encoding_format",
        "{\"input\": \"a\", \"dimensions\": 5} | dimensions",
        "{\"input\": \"a\", \"dimensions\": 0} | dimensions",
        "{\"input\": \"a\", \"model\": 1} | model",
        "{\"input\": \"a\", \"prompt\": \"a\"} | prompt",
        "{\"input\": \"a\", \"stream\": true} | stream",
      })
  void embeddings_fieldThatCannotBeHonoured_isRefusedByName(String body, String param) {
    HttpResponse<String> response = server.post(PATH, body);

    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    assertThat(json(response).path("error").path("param").asText()).isEqualTo(param);
    assertThat(json(response).path("error").path("message").asText()).startsWith(param + ": ");
  }

  @Test
  void embeddings_ofAnotherModel_are404() {
    assertThat(server.post(PATH, "{\"input\": \"a\", \"model\": \"ada\"}").statusCode())
        .isEqualTo(404);
  }

  @Test
  void embeddings_ownNumberOfDimensions_changesNothing() {
    double[] expected = only("{\"input\": \"a\"}");

    assertThat(only("{\"input\": \"a\", \"dimensions\": %d}".formatted(expected.length)))
        .containsExactly(expected, within(1e-6));
    assertThat(server.post(PATH, "{\"input\": \"a\", \"dimensions\": 5}").body())
        .contains("vectors have the model's %d numbers".formatted(expected.length));
  }

  @Test
  void embeddings_ofMoreThanFits_areRefused() {
    HttpResponse<String> body = server.post(PATH, input("the cat ".repeat(1_310_720)));
    assertThat(body.statusCode()).isEqualTo(413);
    assertThat(json(body).path("error").path("code").asText()).isEqualTo("body_too_large");

    HttpResponse<String> text = server.post(PATH, input("the cat ".repeat(200_000)));
    assertThat(text.statusCode()).isEqualTo(400);
    assertThat(json(text).path("error").path("code").asText()).isEqualTo("context_length_exceeded");

    HttpResponse<String> many =
        server.post(PATH, "{\"input\": %s}".formatted(Collections.nCopies(2049, "\"a\"")));
    assertThat(many.statusCode()).isEqualTo(400);
    assertThat(many.body()).contains("2049 texts are more than the 2048 of one request");

    // A full context of ids, and one more.
    assertThat(server.post(PATH, "{\"input\": %s}".formatted(ids(96))).statusCode()).isEqualTo(200);
    assertThat(server.post(PATH, "{\"input\": %s}".formatted(ids(97))).statusCode()).isEqualTo(400);
  }

  private static String input(String text) {
    return HttpJson.object().put("input", text).toString();
  }

  private static List<Integer> ids(int count) {
    return Collections.nCopies(count, 7);
  }

  private static CompletableFuture<HttpResponse<String>> embedMany(int length) {
    return server.client.sendAsync(
        server
            .request(PATH)
            .header("Content-Type", "application/json")
            .POST(
                BodyPublishers.ofString(
                    "{\"input\": %s}".formatted(Collections.nCopies(2048, ids(length)))))
            .build(),
        BodyHandlers.ofString());
  }

  @Test
  void embeddings_ofManyTexts_letTextsBeWrittenMeanwhile() {
    CompletableFuture<HttpResponse<String>> vectors = embedMany(16);
    int written = 0;
    while (!vectors.isDone()) {
      server.complete("{\"prompt\": \"the cat\", \"max_tokens\": 2}");
      written += vectors.isDone() ? 0 : 1;
    }

    assertThat(vectors.join().statusCode()).isEqualTo(200);
    assertThat(json(vectors.join()).path("data")).hasSize(2048);
    assertThat(written).isPositive();
  }

  @Test
  void embeddings_beyondTheTextsAtOnce_are429UntilThereIsRoom() {
    List<CompletableFuture<HttpResponse<String>>> asked = new ArrayList<>();
    double disconnects = ServerLimitsTest.metric(server, "eellm_disconnects_total");
    try (ServerLimitsTest.Brake _ = ServerLimitsTest.Brake.on(server)) {
      for (int i = 0; i < 3; i++) {
        asked.add(embedMany(1));
      }
      ServerLimitsTest.until(() -> asked.stream().anyMatch(CompletableFuture::isDone));
      HttpResponse<String> refused =
          asked.stream().filter(CompletableFuture::isDone).findFirst().orElseThrow().join();
      assertThat(refused.statusCode()).isEqualTo(429);
      assertThat(refused.headers().firstValue("Retry-After")).contains("1");
      assertThat(json(refused).path("error").path("code").asText()).isEqualTo("queue_full");

      asked.removeIf(CompletableFuture::isDone);
      assertThat(asked).hasSize(2);
      asked.removeFirst().cancel(true); // goes away
      ServerLimitsTest.until(
          () -> ServerLimitsTest.metric(server, "eellm_disconnects_total") == disconnects + 1);
      asked.add(embedMany(1));
    }
    for (CompletableFuture<HttpResponse<String>> each : asked) {
      assertThat(each.join().statusCode()).isEqualTo(200);
    }
    server.awaitIdle();
  }
}
