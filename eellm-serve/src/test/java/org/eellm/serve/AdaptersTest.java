package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.serve.TestServer.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.eellm.config.MatrixQuantization;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Adapter;
import org.eellm.model.Decoder;
import org.eellm.model.RandomAdapter;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A model that is served with two adapters beside it. */
final class AdaptersTest {
  private static final String PROMPT = "the cat and";

  @TempDir private static Path folder;
  private static TestServer server;
  private static List<Adapter> adapters;

  @BeforeAll
  static void start() {
    Decoder own = SmallModel.plain();
    adapters =
        List.of(
            RandomAdapter.of(own, "poems", 1, _ -> true),
            RandomAdapter.of(own, "org/sums", 2, name -> name.contains("mlp")));
    server = TestServer.start(folder, StoredDecoder.of(own, MatrixQuantization.NONE, adapters));
  }

  @AfterAll
  static void stop() {
    server.close();
  }

  private static String body(String model) {
    return "{\"model\": \"%s\", \"prompt\": \"%s\", \"max_tokens\": 12, \"temperature\": 0}"
        .formatted(model, PROMPT);
  }

  /** What a model writes with an adapter's changes in its matrices. */
  private static List<Integer> merged(int number) {
    try (Decoder model = SmallModel.plain()) {
      if (number > 0) {
        RandomAdapter.merge(model, adapters.get(number - 1));
      }
      return Generator.generate(
              model,
              server.limits,
              List.of(
                  new Request(
                      server.served.prompt(PROMPT, "prompt"),
                      12,
                      server.served.endTokens(),
                      DecodingMethod.full(),
                      Sampler.greedy())),
              TokenListener.none())
          .getFirst()
          .ids();
    }
  }

  @Test
  void complete_severalModelsAtOnce_eachWritesWhatItsMergedModelDoes() {
    List<String> names = List.of("poems", TestServer.MODEL, "org/sums", "poems");
    List<CompletableFuture<JsonNode>> answers =
        names.stream()
            .map(name -> CompletableFuture.supplyAsync(() -> server.complete(body(name))))
            .toList();

    List<JsonNode> all = answers.stream().map(CompletableFuture::join).toList();

    assertThat(all).extracting(each -> each.path("model").asText()).isEqualTo(names);
    assertThat(all)
        .extracting(each -> each.path("choices").path(0).path("text").asText())
        .containsExactly(
            server.text(merged(1)),
            server.text(merged(0)),
            server.text(merged(2)),
            server.text(merged(1)));
    assertThat(Stream.of(merged(0), merged(1), merged(2))).doesNotHaveDuplicates();
  }

  @Test
  void lens_ofAnAdapter_saysWhatItsMergedModelSays() {
    int first = merged(1).getFirst();
    JsonNode lens =
        TestServer.answered(
            server.post(
                "/v1/lens",
                "{\"model\": \"poems\", \"prompt\": \"%s\", \"continuation\": [%d]}"
                    .formatted(PROMPT, first)));

    assertThat(lens.path("model").asText()).isEqualTo("poems");
    JsonNode finalHead = lens.path("tokens").path(0).path("heads").path(3);
    assertThat(finalHead.path("top").path(0).path("id").asInt()).isEqualTo(first);
  }

  @Test
  void models_listsThemBehindTheModelItself() {
    JsonNode models = json(server.get("/v1/models")).path("data");

    assertThat(models)
        .extracting(each -> each.path("id").asText())
        .containsExactly("small", "poems", "org/sums");
    assertThat(models)
        .extracting(each -> each.path("parent").asText())
        .containsExactly("", "small", "small");
    assertThat(json(server.get("/v1/models/org/sums")).path("parent").asText()).isEqualTo("small");
  }

  @Test
  void complete_nameThatIsNotServed_isRefusedWithThoseThatAre() {
    HttpResponse<String> answer = server.post("/v1/completions", body("prose"));

    assertThat(answer.statusCode()).isEqualTo(404);
    assertThat(json(answer).path("error").path("message").asText())
        .isEqualTo("model: 'prose' is not served here; use 'small' or 'poems' or 'org/sums'");
  }
}
