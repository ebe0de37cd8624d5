package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.serve.TestServer.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.config.HeadId;
import org.eellm.decode.Scorer;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.token.GeneratedToken;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What every head says of a text, and how many tokens a text has. */
final class LensTest extends WithServer {
  private static final String PROMPT = "the cat and";

  @TempDir private Path other;

  /** The token of a single byte. */
  private static int id(int value) {
    return IntStream.range(0, server.tokenizer.vocabSize())
        .filter(id -> Arrays.equals(server.tokenizer.bytes(id), new byte[] {(byte) value}))
        .findFirst()
        .orElseThrow();
  }

  private static JsonNode lens(String body) {
    HttpResponse<String> response = server.post("/v1/lens", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return json(response);
  }

  private static String refusal(String path, String body) {
    HttpResponse<String> response = server.post(path, body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    return json(response).path("error").path("message").asText();
  }

  @Test
  void lens_ofAContinuation_isWhatEachHeadScores() {
    List<Integer> prompt = server.served.prompt(PROMPT, "prompt");
    int part = id(195);
    List<Integer> continuation = List.of(65, 258, part);

    JsonNode answer =
        lens("{\"prompt\": \"%s\", \"continuation\": %s}".formatted(PROMPT, continuation));

    assertThat(answer.path("prompt_tokens").asInt()).isEqualTo(prompt.size());
    assertThat(answer.path("heads").toString())
        .isEqualTo("[\"exit_1\",\"exit_2\",\"exit_4\",\"final\"]");
    assertThat(answer.path("tokens").size()).isEqualTo(3);
    List<Integer> text = new ArrayList<>(prompt);
    text.addAll(continuation);
    List<HeadId> heads = HeadId.all(List.of(1, 2, 4));
    for (int h = 0; h < heads.size(); h++) {
      List<GeneratedToken> scores =
          Scorer.score(server.decoder, server.limits, List.of(text), heads.get(h), 5).getFirst();
      for (int i = 0; i < continuation.size(); i++) {
        GeneratedToken expected = scores.get(prompt.size() - 1 + i);
        JsonNode head = answer.path("tokens").path(i).path("heads").path(h);
        assertThat(head.path("confidence").asDouble())
            .isCloseTo(expected.confidence(), within(1e-6));
        assertThat(head.path("logprob").asDouble())
            .isCloseTo(expected.logProbability(), within(1e-5));
        assertThat(head.path("margin").asDouble()).isBetween(0.0, expected.confidence());
        assertThat(head.path("entropy").asDouble()).isPositive();
        assertThat(head.path("top").findValuesAsText("id"))
            .isEqualTo(
                expected.alternatives().stream().map(best -> Integer.toString(best.id())).toList());
      }
    }
    assertThat(answer.path("tokens").path(2).path("bytes").toString()).isEqualTo("[195]");
    server.awaitIdle();
  }

  @Test
  void lens_ofMessages_standsBehindTheChatTemplate() {
    JsonNode answer =
        lens(
            """
            {"messages": [{"role": "user", "content": "the cat"}], "continuation": [65], "top": 1}
            """);

    assertThat(answer.path("prompt_tokens").asInt())
        .isEqualTo(server.served.prompt("User: the cat\nAssistant:", "prompt").size());
    assertThat(answer.path("tokens").path(0).path("heads").path(0).path("top").size()).isEqualTo(1);
  }

  @Test
  void lens_ofAModelWithGates_tellsWhereItsOwnCalibrationLetsTokensLeave() throws IOException {
    float[] weights = new float[server.decoder.architecture().model().hiddenSize()];
    Arrays.fill(weights, 0.05f);
    Gate gate = new Gate(0.1, 0.3, 0.2, weights);
    SortedMap<Integer, Gate> gates = new TreeMap<>(Map.of(1, gate, 4, gate));
    SortedMap<Integer, Double> thresholds = new TreeMap<>(Map.of(1, 0.5, 4, 0.4));
    new Calibration(new Calibration.OfGates(gates), thresholds)
        .write(other.resolve("calibration.json"));
    List<Integer> shortList = IntStream.range(0, 256).filter(id -> id % 2 == 0).boxed().toList();
    try (TestServer gated =
        TestServer.start(
            other,
            limits -> limits.withVocabulary(new Vocabulary(limits.vocabulary().size(), shortList)),
            TestOptions.at(0))) {
      JsonNode model = json(gated.get("/v1/models")).path("data").path(0).path("early_exit");
      assertThat(model.path("calibration").toString())
          .isEqualTo(
              """
              {"policy":"gate","scale":"confidence","thresholds":{"1":0.5,"4":0.4}}\
              """);
      JsonNode written =
          gated
              .complete(
                  """
                  {"prompt": "the cat and", "max_tokens": 40, "temperature": 0,
                   "early_exit": {"mode": "early-exit", "calibrated": true, "per_token": true,
                                  "threshold": {"1": 0.5, "4": 0.4}}}
                  """)
              .path("choices")
              .path(0)
              .path("early_exit");
      JsonNode lens =
          json(
              gated.post(
                  "/v1/lens",
                  "{\"prompt\": \"the cat and\", \"continuation\": %s}"
                      .formatted(written.findValuesAsText("id"))));

      List<String> leave = new ArrayList<>();
      for (JsonNode token : lens.path("tokens")) {
        JsonNode heads = token.path("heads"); // of exits 1, 2 and 4, and the final one
        leave.add(
            heads.path(0).path("calibrated").asDouble() >= 0.5
                ? "exit_1"
                : heads.path(2).path("calibrated").asDouble() >= 0.4 ? "exit_4" : "final");
        assertThat(heads.path(1).has("calibrated")).isFalse();
      }
      assertThat(leave).isEqualTo(written.findValuesAsText("head")).contains("exit_1", "final");
    }
  }

  @Test
  void requestByTheModelsCalibration_whereItHasNone_isRefused() {
    assertThat(
            refusal(
                "/v1/completions", "{\"prompt\": \"a\", \"early_exit\": {\"calibrated\": true}}"))
        .isEqualTo(
            "early_exit.calibrated: this model has no calibration; make one with eellm calibrate");
  }

  @Test
  void lens_wrongField_isNamed() {
    assertThat(refusal("/v1/lens", "{\"prompt\": \"the\"}")).startsWith("continuation: is missing");
    assertThat(refusal("/v1/lens", "{\"prompt\": \"the\", \"continuation\": [9999]}"))
        .startsWith("continuation[0]: 9999");
    assertThat(refusal("/v1/lens", "{\"prompt\": [\"a\", \"b\"], \"continuation\": [1]}"))
        .startsWith("prompt: has 2 texts");
    assertThat(
            refusal("/v1/lens", "{\"prompt\": \"the\", \"continuation\": [1], \"max_tokens\": 3}"))
        .contains("max_tokens");
    String many = "1,".repeat(100) + "1";
    assertThat(refusal("/v1/lens", "{\"prompt\": \"the\", \"continuation\": [%s]}".formatted(many)))
        .startsWith("continuation: 101 tokens do not fit the model's context of 96");
  }

  @Test
  void tokenize_text_countsItsIds() {
    JsonNode answer = json(server.post("/tokenize", "{\"prompt\": \"%s\"}".formatted(PROMPT)));

    List<Integer> ids = server.served.prompt(PROMPT, "prompt");
    assertThat(answer.path("count").asInt()).isEqualTo(ids.size());
    assertThat(answer.path("max_model_len").asInt()).isEqualTo(96);
    assertThat(answer.path("tokens").toString()).isEqualTo(ids.toString().replace(" ", ""));
  }

  @Test
  void perToken_partOfACharacter_tellsItsBytes() {
    JsonNode answer =
        server.complete(
            """
            {"prompt": "the", "max_tokens": 1, "logit_bias": {"%d": 100},
             "early_exit": {"mode": "full", "per_token": true}}
            """
                .formatted(id(195)));

    JsonNode token = answer.path("choices").path(0).path("early_exit").path(0);
    assertThat(token.path("id").asInt()).isEqualTo(id(195));
    assertThat(token.path("bytes").toString()).isEqualTo("[195]");
  }

  @Test
  void perToken_drafts_tellWhoDraftedAndWhatWasRejected() {
    JsonNode answer =
        server.complete(
            """
            {"prompt": "the cat and", "max_tokens": 24, "temperature": 0,
             "early_exit": {"mode": "speculative", "draft_exit": 2, "draft_length": 3,
                            "draft_margin": 0, "per_token": true}}
            """);

    JsonNode choice = answer.path("choices").path(0);
    JsonNode text = choice.path("early_exit");
    JsonNode metrics = answer.path("metrics").path("early_exit");
    int drafted = 0;
    int accepted = 0;
    for (JsonNode draft : choice.path("drafts")) {
      assertThat(draft.path("by").asText()).isEqualTo("exit_2");
      JsonNode tokens = draft.path("tokens");
      int at = draft.path("at").asInt();
      int held = draft.path("accepted").asInt();
      for (int i = 0; i < held; i++) {
        assertThat(tokens.path(i).path("id")).isEqualTo(text.path(at + i).path("id"));
        assertThat(text.path(at + i).path("drafted").asBoolean()).isTrue();
      }
      if (held < tokens.size()) {
        assertThat(tokens.path(held).path("id")).isNotEqualTo(text.path(at + held).path("id"));
        assertThat(text.path(at + held).path("drafted").asBoolean()).isFalse();
      }
      drafted += tokens.size();
      accepted += held;
    }
    assertThat(drafted).isPositive().isEqualTo(metrics.path("drafted_tokens").asInt());
    assertThat(accepted).isEqualTo(metrics.path("confirmed_tokens").asInt());
  }

  @Test
  void page_notModified_isAnsweredWithoutABody() {
    HttpResponse<String> first = server.get("/page.js");
    String tag = first.headers().firstValue("ETag").orElseThrow();

    HttpResponse<String> again =
        server.send(server.request("/page.js").header("If-None-Match", tag).build());

    assertThat(again.statusCode()).isEqualTo(304);
    assertThat(again.body()).isEmpty();
    assertThat(again.headers().firstValue("Content-Type")).isEmpty(); // that of an error's words
  }

  @Test
  void models_serverWithoutSettings_namesNone() {
    JsonNode model = json(server.get("/v1/models")).path("data").path(0);

    assertThat(model.path("early_exit").path("defaults").toString()).isEqualTo("{}");
  }
}
