package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.serve.TestServer.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import org.eellm.generate.Decoding;
import org.eellm.generate.ExitPolicies;
import org.eellm.generate.GeneratedToken;
import org.eellm.generate.RandomSampler;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;
import org.eellm.generate.Scorer;
import org.eellm.generate.Threshold;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A server's endpoints, each compared with what the generator makes of the same by itself. */
final class ServerTest {
  private static final int THREADS = Torch.threads();
  private static final Sampler GREEDY = new RandomSampler(0, 0, 1, 1, 0);

  @TempDir private static Path folder;
  private static TestServer server;

  @BeforeAll
  static void start() {
    Torch.setThreads(1); // the model is tiny
    server = TestServer.start(folder);
  }

  @AfterAll
  static void stop() {
    server.close();
    Torch.setThreads(THREADS);
  }

  private static JsonNode complete(String body) {
    HttpResponse<String> response = server.post("/v1/completions", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return json(response);
  }

  private static JsonNode chat(String body) {
    HttpResponse<String> response = server.post("/v1/chat/completions", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    return json(response);
  }

  private static List<String> texts(JsonNode reply) {
    return StreamSupport.stream(reply.path("choices").spliterator(), false)
        .map(choice -> choice.path("text").asText())
        .toList();
  }

  @Test
  void completion_greedyInFullModel_isTheGeneratorsText() {
    JsonNode reply =
        complete(
            """
            {"model": "small", "prompt": "the cat", "max_tokens": 12, "temperature": 0,
             "early_exit": {"mode": "full"}, "user": "somebody"}\
            """);

    JsonNode choice = reply.path("choices").path(0);
    assertThat(reply.path("object").asText()).isEqualTo("text_completion");
    assertThat(reply.path("id").asText()).matches("cmpl-[0-9a-f]{32}");
    assertThat(reply.path("model").asText()).isEqualTo("small");
    assertThat(choice.path("text").asText()).isEqualTo(server.greedy("the cat", 12));
    assertThat(choice.path("finish_reason").asText()).isEqualTo("length");
    assertThat(choice.path("logprobs").isNull()).isTrue();
    int prompt = server.served.prompt("the cat", "prompt").size();
    assertThat(reply.path("usage").path("prompt_tokens").asInt()).isEqualTo(prompt);
    assertThat(reply.path("usage").path("completion_tokens").asInt()).isEqualTo(12);
    assertThat(reply.path("usage").path("total_tokens").asInt()).isEqualTo(prompt + 12);
    assertThat(reply.path("metrics").path("early_exit").path("mean_layer").asDouble()).isEqualTo(5);
  }

  @Test
  void completion_withoutMaxTokens_hasSixteen() {
    assertThat(
            complete("{\"prompt\": \"the\", \"temperature\": 0}")
                .path("usage")
                .path("completion_tokens")
                .asInt())
        .isEqualTo(16);
  }

  @Test
  void completion_earlyExit_tellsWhereEachTokenLeft() {
    Result alone =
        server.alone(
            "the dog",
            20,
            new Decoding.EarlyExit(
                ExitPolicies.among(List.of(1, 4), ExitPolicies.maxProbability(Threshold.of(0.02)))),
            GREEDY);
    JsonNode reply =
        complete(
            """
            {"prompt": "the dog", "max_tokens": 20, "temperature": 0, "early_exit":
             {"policy": "max-probability", "threshold": 0.02, "exits": [1, 4], "per_token": true}}\
            """);

    JsonNode tokens = reply.path("choices").path(0).path("early_exit");
    assertThat(tokens).hasSize(alone.tokens().size());
    for (int i = 0; i < tokens.size(); i++) {
      GeneratedToken token = alone.tokens().get(i);
      assertThat(tokens.path(i).path("id").asInt()).isEqualTo(token.id());
      assertThat(tokens.path(i).path("head").asText()).isEqualTo(token.head());
      assertThat(tokens.path(i).path("layer").asInt()).isEqualTo(token.layer());
      assertThat(tokens.path(i).path("confidence").asDouble())
          .isCloseTo(token.confidence(), within(1e-4));
    }
    JsonNode metrics = reply.path("metrics").path("early_exit");
    assertThat(metrics.path("mean_layer").asDouble())
        .isCloseTo(
            alone.tokens().stream().mapToInt(GeneratedToken::layer).average().orElseThrow(),
            within(1e-9));
    assertThat(metrics.path("layers").asInt()).isEqualTo(5);
    metrics
        .path("histogram")
        .properties()
        .forEach(
            entry ->
                assertThat(entry.getValue().asLong())
                    .isEqualTo(
                        alone.tokens().stream()
                            .filter(token -> token.head().equals(entry.getKey()))
                            .count()));
    assertThat(alone.tokens()).extracting(GeneratedToken::head).contains("exit_1");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"mode\": \"speculative\", \"draft_exit\": 2, \"draft_length\": 3}",
        "{\"mode\": \"speculative\", \"draft_confidence\": 0}",
        "{\"mode\": \"early-exit\", \"policy\": \"full\"}",
        "{\"mode\": \"recompute\", \"threshold\": 1.5}",
        "{\"policy\": \"margin\", \"threshold\": {\"1\": 2, \"2\": 2, \"4\": 2}}",
        "{\"policy\": \"entropy\", \"threshold\": -1}",
        "{\"policy\": \"patience\", \"patience\": 9}",
        "{\"policy\": \"max-probability\", \"threshold\": 2, \"threshold_decay\": 0.0}",
      })
  void completion_settingsThatChangeNoToken_giveTheFullModelsText(String earlyExit) {
    // A decaying threshold is at most 1, which random models do not reach either.
    JsonNode reply =
        complete(
            "{\"prompt\": \"the bird\", \"max_tokens\": 15, \"temperature\": 0, \"early_exit\": "
                + earlyExit
                + "}");

    assertThat(texts(reply)).containsExactly(server.greedy("the bird", 15));
  }

  @Test
  void completion_serverDefaults_areThoseOfGenerate() {
    Result alone =
        server.alone(
            "the end",
            10,
            new Decoding.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.9))),
            GREEDY);

    assertThat(texts(complete("{\"prompt\":\"the end\",\"max_tokens\":10,\"temperature\":0}")))
        .containsExactly(server.text(alone.ids()));
  }

  @Test
  void completion_sampling_isTheSamplersOfTheSameSeed() {
    Sampler sampler =
        new RandomSampler(
            0.8,
            20,
            0.9,
            0.01,
            new org.eellm.generate.Penalties(1.2, 0.5, 0.25),
            java.util.Map.of(5, 3.0, 7, -2.0),
            11);
    Result alone = server.alone("the cat", 20, Decoding.full(), sampler);

    assertThat(
            texts(
                complete(
                    """
                    {"prompt": "the cat", "max_tokens": 20, "temperature": 0.8, "top_k": 20,
                     "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2,
                     "presence_penalty": 0.5, "frequency_penalty": 0.25, "seed": 11,
                     "logit_bias": {"5": 3, "7": -2}, "early_exit": {"mode": "full"}}\
                    """)))
        .containsExactly(server.text(alone.ids()));
  }

  @Test
  void completion_severalChoicesAndPrompts_areThoseOfSeedsOneAfterTheOther() {
    JsonNode reply =
        complete(
            """
            {"prompt": ["the cat", "the dog"], "n": 3, "max_tokens": 8, "temperature": 1,
             "seed": 5, "early_exit": {"mode": "full"}}\
            """);

    List<String> expected = new ArrayList<>();
    int tokens = 0;
    for (String prompt : List.of("the cat", "the dog")) {
      for (int seed = 5; seed < 8; seed++) {
        Result alone =
            server.alone(prompt, 8, Decoding.full(), new RandomSampler(1, 0, 1, 1, seed));
        expected.add(server.text(alone.ids()));
        tokens += alone.tokens().size();
      }
    }
    assertThat(texts(reply)).isEqualTo(expected);
    assertThat(reply.path("choices").path(4).path("index").asInt()).isEqualTo(4);
    assertThat(reply.path("usage").path("completion_tokens").asInt()).isEqualTo(tokens);
  }

  @Test
  void completion_withoutSeed_differsFromRequestToRequest() {
    String body = "{\"prompt\": \"the\", \"max_tokens\": 30, \"temperature\": 2}";

    assertThat(texts(complete(body))).isNotEqualTo(texts(complete(body)));
  }

  @Test
  void completion_idsAsPrompts_areTakenAsTheyAre() {
    List<Integer> cat = server.served.prompt("the cat", "prompt");
    String ids = cat.toString();
    String more = "\"max_tokens\": 9, \"temperature\": 0, \"early_exit\": {\"mode\": \"full\"}}";

    assertThat(texts(complete("{\"prompt\": %s, %s".formatted(ids, more))))
        .containsExactly(server.greedy("the cat", 9));
    assertThat(texts(complete("{\"prompt\": [%s, \"the dog\"], %s".formatted(ids, more))))
        .containsExactly(server.greedy("the cat", 9), server.greedy("the dog", 9));
  }

  @Test
  void completion_stop_endsBeforeTheText() {
    String text = server.greedy("the cat", 30);
    String stop = text.substring(10, 12);
    JsonNode reply =
        complete(
            Json.object()
                .put("prompt", "the cat")
                .put("max_tokens", 30)
                .put("temperature", 0)
                .put("stop", stop)
                .set("early_exit", Json.object().put("mode", "full"))
                .toString());

    assertThat(texts(reply)).containsExactly(text.substring(0, text.indexOf(stop)));
    assertThat(reply.path("choices").path(0).path("finish_reason").asText()).isEqualTo("stop");
  }

  @Test
  void completion_echoWithLogprobs_hasWhatTheScorerSays() {
    List<Integer> prompt = server.served.prompt("the cat and the dog", "prompt");
    Result alone = server.alone("the cat and the dog", 4, Decoding.full(), GREEDY);
    List<Integer> whole = new ArrayList<>(prompt);
    whole.addAll(alone.ids());
    List<GeneratedToken> scores =
        Scorer.score(server.decoder, server.limits, List.of(whole), "final", 2).getFirst();

    JsonNode choice =
        complete(
                """
                {"prompt": "the cat and the dog", "max_tokens": 4, "temperature": 0, "echo": true,
                 "logprobs": 2, "early_exit": {"mode": "full"}}\
                """)
            .path("choices")
            .path(0);

    JsonNode logprobs = choice.path("logprobs");
    assertThat(choice.path("text").asText())
        .isEqualTo("the cat and the dog" + server.text(alone.ids()));
    assertThat(logprobs.path("tokens")).hasSize(whole.size());
    assertThat(logprobs.path("token_logprobs").path(0).isNull()).isTrue();
    int offset = 0;
    for (int i = 0; i < whole.size(); i++) {
      assertThat(logprobs.path("text_offset").path(i).asInt()).isEqualTo(offset);
      offset += server.tokenizer.decode(whole.get(i)).length();
      if (i > 0) {
        assertThat(logprobs.path("token_logprobs").path(i).asDouble())
            .isCloseTo(scores.get(i - 1).logProbability(), within(1e-4));
        assertThat(logprobs.path("top_logprobs").path(i).size()).isBetween(1, 2);
      }
    }
  }

  @Test
  void completion_echoOfNothingMore_scoresThePrompt() {
    JsonNode reply =
        complete(
            """
            {"prompt": ["the cat", "the"], "max_tokens": 0, "echo": true, "logprobs": 0}\
            """);

    assertThat(texts(reply)).containsExactly("the cat", "the");
    JsonNode first = reply.path("choices").path(0);
    assertThat(first.path("logprobs").path("token_logprobs"))
        .hasSize(server.served.prompt("the cat", "prompt").size());
    assertThat(first.path("finish_reason").asText()).isEqualTo("length");
    assertThat(reply.path("usage").path("completion_tokens").asInt()).isZero();
  }

  @Test
  void stream_ofCompletion_isTheWholeTextInPieces() {
    List<String> events =
        server.events(
            "/v1/completions",
            """
            {"prompt": "the cat", "max_tokens": 12, "temperature": 0, "stream": true,
             "logprobs": 1, "n": 2, "echo": true, "stream_options": {"include_usage": true},
             "early_exit": {"mode": "full", "per_token": true}}\
            """);

    assertThat(events.getLast()).isEqualTo("[DONE]");
    List<JsonNode> parts =
        events.subList(0, events.size() - 1).stream().map(TestServer::json).toList();
    List<StringBuilder> texts = List.of(new StringBuilder(), new StringBuilder());
    int tokens = 0;
    List<String> reasons = new ArrayList<>();
    for (JsonNode part : parts.subList(0, parts.size() - 1)) {
      assertThat(part.path("object").asText()).isEqualTo("text_completion");
      assertThat(part.has("usage")).isTrue();
      assertThat(part.path("usage").isNull()).isTrue();
      JsonNode choice = part.path("choices").path(0);
      texts.get(choice.path("index").asInt()).append(choice.path("text").asText());
      tokens += choice.path("early_exit").size();
      if (!choice.path("finish_reason").isNull()) {
        reasons.add(choice.path("finish_reason").asText());
      }
    }
    for (StringBuilder text : texts) {
      assertThat(text.toString()).isEqualTo("the cat" + server.greedy("the cat", 12));
    }
    assertThat(tokens).isEqualTo(24);
    assertThat(reasons).containsExactly("length", "length");
    JsonNode last = parts.getLast();
    assertThat(last.path("choices")).isEmpty();
    assertThat(last.path("usage").path("completion_tokens").asInt()).isEqualTo(24);
    assertThat(parts.get(parts.size() - 2).path("metrics").path("early_exit").path("histogram"))
        .isEqualTo(Json.object().put("final", 24));
  }

  @Test
  void chat_withoutTemplate_isAPlainDialogue() {
    String prompt = "Be brief.\n\nUser: the cat\nAssistant: and\nUser: the dog\nAssistant:";
    String messages =
        """
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "the cat"},
         {"role": "assistant", "content": [{"type": "text", "text": "and"}]},
         {"role": "user", "content": "the dog", "name": "somebody"}]\
        """;
    JsonNode reply =
        chat(
            """
            {"model": "small", "messages": %s, "max_completion_tokens": 6, "temperature": 0,
             "logprobs": true, "top_logprobs": 3, "early_exit": {"mode": "full"}}\
            """
                .formatted(messages));

    JsonNode choice = reply.path("choices").path(0);
    assertThat(reply.path("object").asText()).isEqualTo("chat.completion");
    assertThat(choice.path("message").path("role").asText()).isEqualTo("assistant");
    assertThat(choice.path("message").path("content").asText()).isEqualTo(server.greedy(prompt, 6));
    assertThat(choice.path("logprobs").path("content")).hasSize(6);
    JsonNode token = choice.path("logprobs").path("content").path(0);
    assertThat(token.path("top_logprobs")).hasSize(3);
    assertThat(token.path("logprob")).isEqualTo(token.path("top_logprobs").path(0).path("logprob"));
    assertThat(reply.path("usage").path("prompt_tokens").asInt())
        .isEqualTo(server.served.prompt(prompt, "prompt").size());
  }

  @Test
  void stream_ofChat_beginsWithTheRole() {
    List<String> events =
        server.events(
            "/v1/chat/completions",
            """
            {"messages": [{"role": "user", "content": "the cat"}], "max_tokens": 5,
             "temperature": 0, "stream": true, "early_exit": {"mode": "full"}}\
            """);

    List<JsonNode> parts =
        events.subList(0, events.size() - 1).stream().map(TestServer::json).toList();
    assertThat(parts.getFirst().path("object").asText()).isEqualTo("chat.completion.chunk");
    assertThat(parts.getFirst().path("choices").path(0).path("delta").path("role").asText())
        .isEqualTo("assistant");
    StringBuilder text = new StringBuilder();
    parts.forEach(
        part -> text.append(part.path("choices").path(0).path("delta").path("content").asText()));
    assertThat(text.toString()).isEqualTo(server.greedy("User: the cat\nAssistant:", 5));
    assertThat(parts.getLast().path("choices").path(0).path("finish_reason").asText())
        .isEqualTo("length");
    assertThat(parts.getLast().has("usage")).isFalse();
  }

  @Test
  void megatron_fieldsOfItsClient_giveItsAnswer() {
    Result alone =
        server.alone(
            "the cat",
            7,
            new Decoding.EarlyExit(
                ExitPolicies.among(List.of(2), ExitPolicies.maxProbability(Threshold.of(0.02)))),
            GREEDY);
    HttpResponse<String> response =
        server.put(
            "/api",
            """
            {"prompts": ["the cat"], "tokens_to_generate": 7, "top_k": 1, "logprobs": true,
             "use_early_exit": true, "early_exit_thres": 0.02, "exit_layers": [2],
             "print_max_prob": true, "no_log": true, "random_seed": 9, "echo_prompts": false}\
            """);

    assertThat(response.statusCode()).as(response.body()).isEqualTo(200);
    JsonNode reply = json(response);
    assertThat(reply.path("text").path(0).asText()).isEqualTo(server.text(alone.ids()));
    assertThat(reply.path("segments").path(0)).hasSize(7);
    assertThat(reply.path("logprobs").path(0)).hasSize(7);
    assertThat(reply.path("requst_time").asDouble()).isPositive();
    assertThat(reply.path("early_exit").path(0)).hasSize(7);
    for (int i = 0; i < 7; i++) {
      assertThat(reply.path("logprobs").path(0).path(i).asDouble())
          .isCloseTo(alone.tokens().get(i).logProbability(), within(1e-4));
      assertThat(reply.path("early_exit").path(0).path(i).path("layer").asInt())
          .isEqualTo(alone.tokens().get(i).layer());
    }
  }

  @Test
  void megatron_earlyExitSetToFalse_isOffUnlikeThere() {
    JsonNode reply =
        json(
            server.put(
                "/api",
                """
                {"prompts": "the cat", "tokens_to_generate": 7, "use_early_exit": false,
                 "early_exit_thres": 0, "echo_prompts": true}\
                """));

    assertThat(reply.path("text").path(0).asText())
        .isEqualTo("the cat" + server.greedy("the cat", 7));
    assertThat(reply.path("logprobs").isNull()).isTrue();
  }

  @Test
  void megatron_noTokens_scoresThePrompts() {
    JsonNode reply =
        json(server.put("/api", "{\"prompts\": [\"the cat\"], \"tokens_to_generate\": 0}"));
    int tokens = server.served.prompt("the cat", "prompt").size();

    assertThat(reply.path("text").path(0).asText()).isEqualTo("the cat");
    assertThat(reply.path("logprobs").path(0)).hasSize(tokens - 1);
    assertThat(reply.path("segments").path(0)).hasSize(tokens);
  }

  @Test
  void models_areTheOneServed() {
    JsonNode reply = json(server.get("/v1/models"));
    JsonNode model = reply.path("data").path(0);

    assertThat(reply.path("data")).hasSize(1);
    assertThat(model.path("id").asText()).isEqualTo("small");
    assertThat(model.path("max_model_len").asInt()).isEqualTo(96);
    assertThat(model.path("early_exit").toString()).isEqualTo("{\"layers\":5,\"exits\":[1,2,4]}");
    assertThat(json(server.get("/v1/models/small"))).isEqualTo(model);
    assertThat(server.get("/v1/models/other").statusCode()).isEqualTo(404);
  }

  @Test
  void model_ofANameWithSlashes_isLookedForAsAWhole() {
    for (String path : List.of("/v1/models/org/other", "/v1/models/org%2Fother")) {
      HttpResponse<String> response = server.get(path);
      assertThat(response.statusCode()).isEqualTo(404);
      assertThat(response.body()).contains("'org/other' is not served here; use 'small'");
    }
  }

  @Test
  void chat_fieldsThatAreNull_areAbsent() {
    // Clients send answers back as they were, with all that might have been in them.
    assertThat(
            chat("""
            {"messages": [{"role": "user", "content": "a"},
              {"role": "assistant", "content": "b", "refusal": null, "tool_calls": null},
              {"role": "user", "content": "c"}], "max_tokens": 2, "tools": null,
             "service_tier": null}\
            """)
                .path("usage")
                .path("completion_tokens")
                .asInt())
        .isEqualTo(2);
  }

  @Test
  void health_ofAReadyServer_isOk() {
    assertThat(server.get("/health").statusCode()).isEqualTo(200);
    assertThat(server.get("/health").body()).isEqualTo("{\"status\":\"ok\"}");
  }

  @Test
  void metrics_afterATextTellOfIt() {
    complete("{\"prompt\": \"the cat\", \"max_tokens\": 3, \"temperature\": 0}");
    HttpResponse<String> response = server.get("/metrics");

    assertThat(response.headers().firstValue("Content-Type").orElseThrow())
        .startsWith("text/plain; version=0.0.4");
    assertThat(response.body().lines())
        .anyMatch(
            line ->
                line.matches(
                    "eellm_requests_total\\{path=\"/v1/completions\",status=\"200\"\\} [0-9.]+"))
        .anyMatch(line -> line.matches("eellm_generated_tokens_total\\{head=\"final\"\\} [0-9.]+"))
        .anyMatch(line -> line.matches("eellm_time_to_first_token_seconds_count [1-9][0-9]*"))
        .anyMatch(line -> line.matches("eellm_inter_token_seconds_bucket\\{le=\"[0-9.]+\"\\} .*"))
        .anyMatch(line -> line.matches("eellm_queue_seconds_sum .*"))
        .contains("eellm_texts_running 0.0", "eellm_texts_queued 0.0")
        .contains("eellm_cache_tokens " + (double) server.engine.status().cacheTokens())
        .contains("eellm_cache_tokens_in_use 0.0");
  }

  @Test
  void page_andItsFiles_areThere() {
    for (String path : List.of("/", "/page.js", "/page.css", "/icon.svg")) {
      HttpResponse<String> response = server.get(path);
      assertThat(response.statusCode()).as(path).isEqualTo(200);
      assertThat(response.body()).isNotBlank();
    }
    assertThat(server.get("/").body()).contains("<title>eellm");
    assertThat(server.get("/../ServerTest.class").statusCode()).isIn(400, 404);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"prompt\": \"a\", \"foo\": 1} | foo",
        "{\"prompt\": \"a\", \"early_exit\": {\"treshold\": 1}} | early_exit.treshold",
        "{} | prompt",
        "{\"prompt\": \"\"} | prompt",
        "{\"prompt\": []} | prompt",
        "{\"prompt\": [[]]} | prompt",
        "{\"prompt\": {}} | prompt",
        "{\"prompt\": [\"a\", true]} | prompt[1]",
        "{\"prompt\": [1, 2.5]} | prompt[1]",
        "{\"prompt\": [1, 999]} | prompt[1]",
        "{\"prompt\": [-1]} | prompt[0]",
        "{\"prompt\": \"a\", \"max_tokens\": 0} | max_tokens",
        "{\"prompt\": \"a\", \"max_tokens\": \"5\"} | max_tokens",
        "{\"prompt\": \"a\", \"max_tokens\": 96} | max_tokens",
        "{\"prompt\": \"a\", \"max_tokens\": 12345678901234567890} | max_tokens",
        "{\"prompt\": \"a\", \"temperature\": 2.1} | temperature",
        "{\"prompt\": \"a\", \"temperature\": -1} | temperature",
        "{\"prompt\": \"a\", \"temperature\": \"hot\"} | temperature",
        "{\"prompt\": \"a\", \"top_p\": 0} | top_p",
        "{\"prompt\": \"a\", \"top_p\": 1.01} | top_p",
        "{\"prompt\": \"a\", \"top_k\": -1} | top_k",
        "{\"prompt\": \"a\", \"min_p\": 1.5} | min_p",
        "{\"prompt\": \"a\", \"repetition_penalty\": 0} | repetition_penalty",
        "{\"prompt\": \"a\", \"presence_penalty\": 3} | presence_penalty",
        "{\"prompt\": \"a\", \"frequency_penalty\": -3} | frequency_penalty",
        "{\"prompt\": \"a\", \"logit_bias\": {\"x\": 1}} | logit_bias",
        "{\"prompt\": \"a\", \"logit_bias\": {\"260\": 1}} | logit_bias",
        "{\"prompt\": \"a\", \"logit_bias\": {\"1\": 101}} | logit_bias.1",
        "{\"prompt\": \"a\", \"logit_bias\": [1]} | logit_bias",
        "{\"prompt\": \"a\", \"n\": 0} | n",
        "{\"prompt\": \"a\", \"n\": 129} | n",
        "{\"prompt\": [\"a\", \"b\"], \"n\": 65} | n",
        "{\"prompt\": \"a\", \"best_of\": 2} | best_of",
        "{\"prompt\": \"a\", \"suffix\": \"b\"} | suffix",
        "{\"prompt\": \"a\", \"stop\": \"\"} | stop",
        "{\"prompt\": \"a\", \"stop\": [1]} | stop[0]",
        "{\"prompt\": \"a\", \"stop\": 5} | stop",
        "{\"prompt\": \"a\", \"seed\": 1.5} | seed",
        "{\"prompt\": \"a\", \"logprobs\": 21} | logprobs",
        "{\"prompt\": \"a\", \"logprobs\": true} | logprobs",
        "{\"prompt\": \"a\", \"echo\": 1} | echo",
        "{\"prompt\": \"a\", \"stream\": \"yes\"} | stream",
        "{\"prompt\": \"a\", \"stream_options\": {}} | stream_options",
        "{\"prompt\": \"a\", \"stream\": true, \"stream_options\": {\"x\": 1}} | stream_options.x",
        "{\"prompt\": \"a\", \"early_exit\": true} | early_exit",
        "{\"prompt\": \"a\", \"early_exit\": {\"policy\": \"best\"}} | early_exit.policy",
        "{\"prompt\": \"a\", \"early_exit\": {\"exits\": [3]}} | early_exit.exits",
        "{\"prompt\": \"a\", \"early_exit\": {\"exits\": [\"1\"]}} | early_exit.exits[0]",
        "{\"prompt\": \"a\", \"early_exit\": {\"policy\": \"fixed\"}} | early_exit.policy",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": \"high\"}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": {\"1\": 1}}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"mode\": \"full\", \"threshold\": 1}} |"
            + " early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold_decay\": -1}} |"
            + " early_exit.threshold_decay",
        "{\"prompt\": \"a\", \"early_exit\": {\"draft_length\": 3}} | early_exit.draft_length",
        "{\"prompt\": \"a\", \"early_exit\": {\"mode\": \"speculative\", \"draft_exit\": 3}} |"
            + " early_exit.draft_exit",
      })
  void completion_fieldThatCannotBeHonoured_isRefusedByName(String body, String param) {
    HttpResponse<String> response = server.post("/v1/completions", body);
    JsonNode error = json(response).path("error");

    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    assertThat(error.path("param").asText()).as(response.body()).isEqualTo(param);
    assertThat(error.path("type").asText()).isEqualTo("invalid_request_error");
    assertThat(error.path("message").asText()).startsWith(param).doesNotContain("\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{} | messages",
        "{\"messages\": []} | messages",
        "{\"messages\": \"hi\"} | messages",
        "{\"messages\": [\"hi\"]} | messages[0]",
        "{\"messages\": [{\"content\": \"hi\"}]} | messages[0].role",
        "{\"messages\": [{\"role\": \"tool\", \"content\": \"hi\"}]} | messages[0].role",
        "{\"messages\": [{\"role\": \"user\"}]} | messages[0].content",
        "{\"messages\": [{\"role\": \"user\", \"content\": 5}]} | messages[0].content",
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]} |"
            + " messages[0].content[0].type",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"x\": 1}]} | messages[0].x",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": []} | tools",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"top_logprobs\": 2} |"
            + " top_logprobs",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"max_tokens\": 2,"
            + " \"max_completion_tokens\": 2} | max_tokens",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"response_format\":"
            + " {\"type\": \"json_object\"}} | response_format.type",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"prompt\": \"b\"} | prompt",
      })
  void chat_fieldThatCannotBeHonoured_isRefusedByName(String body, String param) {
    HttpResponse<String> response = server.post("/v1/chat/completions", body);

    assertRefused(response, param);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{} | prompts",
        "{\"prompts\": []} | prompts",
        "{\"prompts\": [\"\"]} | prompts[0]",
        "{\"prompts\": [\"a\"], \"max_len\": 5} | max_len",
        "{\"prompts\": [\"a\"], \"sentences\": []} | sentences",
        "{\"prompts\": [\"a\"], \"tokens_to_generate\": -1} | tokens_to_generate",
        "{\"prompts\": [\"a\"], \"tokens_to_generate\": 96} | tokens_to_generate",
        "{\"prompts\": [\"a\"], \"top_k\": 2, \"top_p\": 0.5} | top_p",
        "{\"prompts\": [\"a\"], \"top_p_decay\": 0.5} | top_p_decay",
        "{\"prompts\": [\"a\"], \"beam_width\": 2} | beam_width",
        "{\"prompts\": [\"a\"], \"temperature\": 101} | temperature",
        "{\"prompts\": [\"a\"], \"use_early_exit\": \"yes\"} | use_early_exit",
        "{\"prompts\": [\"a\"], \"use_early_exit\": true, \"exit_layers\": [3]} | exit_layers",
        "{\"prompts\": [\"a\"], \"prevent_newline_after_colon\": true} |"
            + " prevent_newline_after_colon",
        "{\"prompts\": [\"a\"], \"stop_sequences\": [5]} | stop_sequences[0]",
        "{\"prompts\": [\"a\"], \"prompt\": \"a\"} | prompt",
      })
  void megatron_fieldThatCannotBeHonoured_isRefusedByName(String body, String param) {
    HttpResponse<String> response = server.put("/api", body);

    assertRefused(response, param);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "nonsense | 400 | invalid_json",
        "`` | 400 | invalid_json",
        "[1] | 400 | invalid_json",
        "{\"prompt\": \"a\"} {} | 400 | invalid_json",
        "{\"prompt\": \"a\", \"prompt\": \"b\"} | 400 | invalid_json",
        "{\"prompt\": NaN} | 400 | invalid_json",
        "{\"model\": \"gpt-4\", \"prompt\": \"a\"} | 404 | model_not_found",
        "{\"prompt\": \"a\", \"max_tokens\": 500} | 400 | context_length_exceeded",
      })
  void completion_bodyThatIsNone_hasItsStatusAndCode(String body, int status, String code) {
    HttpResponse<String> response = server.post("/v1/completions", body);

    assertThat(response.statusCode()).as(response.body()).isEqualTo(status);
    assertThat(json(response).path("error").path("code").asText()).isEqualTo(code);
  }

  @Test
  void completion_promptOfAMegabyte_isTooLong() {
    HttpResponse<String> response =
        server.post(
            "/v1/completions", Json.object().put("prompt", "the cat ".repeat(131_072)).toString());

    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(json(response).path("error").path("code").asText())
        .isEqualTo("context_length_exceeded");
  }

  @Test
  void completion_invalidUtf8_isRefused() {
    HttpResponse<String> response =
        server.send(
            server
                .request("/v1/completions")
                .header("Content-Type", "application/json")
                .POST(
                    BodyPublishers.ofByteArray(
                        new byte[] {'{', '"', 'p', '"', ':', '"', (byte) 0xFF, '"', '}'}))
                .build());

    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(json(response).path("error").path("code").asText()).isEqualTo("invalid_json");
  }

  @Test
  void request_ofAnotherTypeMethodOrPath_hasItsStatus() {
    assertThat(
            server
                .send(
                    server
                        .request("/v1/completions")
                        .POST(BodyPublishers.ofString("{\"prompt\": \"a\"}"))
                        .build())
                .statusCode())
        .isEqualTo(415);
    HttpResponse<String> wrongMethod = server.get("/v1/completions");
    assertThat(wrongMethod.statusCode()).isEqualTo(405);
    assertThat(wrongMethod.headers().firstValue("Allow")).contains("POST");
    HttpResponse<String> unknown = server.get("/v1/embeddings");
    assertThat(unknown.statusCode()).isEqualTo(404);
    assertThat(json(unknown).path("error").path("message").asText()).contains("GET /v1/embeddings");
  }

  @Test
  void start_portInUse_saysSo() {
    int port = server.server.port();

    assertThatThrownBy(() -> Server.start(ServerOptions.of(port)))
        .isInstanceOf(ServeException.class)
        .hasMessageContaining("cannot listen at 127.0.0.1:" + port)
        .hasMessageContaining("use another --port");
  }

  /** A 400 that names the field. */
  private static void assertRefused(HttpResponse<String> response, String param) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    assertThat(json(response).path("error").path("param").asText())
        .as(response.body())
        .isEqualTo(param);
  }
}
