package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.serve.TestServer.json;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A server's other endpoints. */
final class ServerTest extends WithServer {
  private static final Sampler GREEDY = new RandomSampler(0, 0, 1, 1, 0);

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
        server.chat(
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
            new DecodingMethod.EarlyExit(
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
    assertThat(model.path("early_exit").toString())
        .startsWith("{\"layers\":5,\"exits\":[1,2,4],\"defaults\":{},\"policies\":{");
    assertThat(model.path("early_exit").path("policies").path("entropy"))
        .isEqualTo(
            json(
                """
                {"description": "the entropy in nats is at most the threshold",
                 "threshold": 0.5, "scale": "uncertainty"}
                """));
    JsonNode patience = model.path("early_exit").path("policies").path("patience");
    assertThat(patience.path("number").asText()).isEqualTo("patience");
    assertThat(patience.path("patience").asInt()).isEqualTo(2);
    assertThat(patience.path("meaning").asText()).isEqualTo("exits in a row that agree");
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
            server
                .chat(
                    """
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
  void chat_valuesThatChangeNothing_areTaken() {
    JsonNode reply =
        server.chat(
            """
            {"messages": [{"role": "user", "content": "a"}], "max_tokens": 3,
             "max_completion_tokens": 2, "tools": [], "tool_choice": "none", "functions": [],
             "function_call": "none", "parallel_tool_calls": true, "service_tier": "auto"}\
            """);

    assertThat(reply.path("usage").path("completion_tokens").asInt()).isEqualTo(2);
  }

  @Test
  void responses_areRefusedWithTheClientsOptionForChats() {
    for (HttpResponse<String> response :
        List.of(
            server.post("/v1/responses", "{\"model\": \"small\", \"input\": \"the cat\"}"),
            server.post("/v1/responses", "x".repeat(100_000)),
            server.get("/v1/responses"))) {
      assertThat(response.statusCode()).isEqualTo(404);
      assertThat(json(response).path("error").path("type").asText())
          .isEqualTo("invalid_request_error");
      assertThat(json(response).path("error").path("message").asText())
          .contains("openai.chat(", "client.chat.completions")
          .doesNotContain("\n");
    }
  }

  @Test
  void detokenize_ofATextsIds_isTheText() {
    JsonNode tokens =
        TestServer.answered(server.post("/tokenize", "{\"prompt\": \"the cat \uD83D\uDE42\"}"));
    JsonNode reply =
        TestServer.answered(
            server.post(
                "/detokenize",
                "{\"model\": \"small\", \"tokens\": %s}".formatted(tokens.path("tokens"))));

    assertThat(reply.toString()).isEqualTo("{\"prompt\":\"the cat \uD83D\uDE42\"}");
    assertThat(TestServer.answered(server.post("/detokenize", "{\"tokens\": []}")).toString())
        .isEqualTo("{\"prompt\":\"\"}");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{} | tokens",
        "{\"tokens\": \"the\"} | tokens",
        "{\"tokens\": {\"0\": 1}} | tokens",
        "{\"tokens\": [1, 260]} | tokens[1]",
        "{\"tokens\": [-1]} | tokens[0]",
        "{\"tokens\": [1.5]} | tokens[0]",
        "{\"tokens\": [\"1\"]} | tokens[0]",
        "{\"tokens\": [12345678901234567890]} | tokens[0]",
        "{\"tokens\": [[1]]} | tokens[0]",
        "{\"tokens\": [1], \"prompt\": \"a\"} | prompt",
        "{\"tokens\": MANY} | tokens",
      })
  void detokenize_whatIsNoListOfIds_isRefusedByName(String body, String param) {
    HttpResponse<String> response =
        server.post(
            "/detokenize", body.replace("MANY", Collections.nCopies(500_000, 1).toString()));

    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    assertThat(json(response).path("error").path("param").asText()).isEqualTo(param);
  }

  @ParameterizedTest
  @ValueSource(strings = {"full", "early-exit", "speculative"})
  void completion_promptThatFillsTheContext_isContinuedByOneToken(String mode) {
    String prompt = Collections.nCopies(96, 7).toString();
    String body = "{\"prompt\": %s, \"temperature\": 0, \"early_exit\": {\"mode\": \"%s\"}%s}";

    JsonNode one = server.complete(body.formatted(prompt, mode, ", \"max_tokens\": 1"));
    assertThat(one.path("usage"))
        .isEqualTo(
            json(
                """
                {"prompt_tokens": 96, "completion_tokens": 1, "total_tokens": 97,
                 "prompt_tokens_details": {"cached_tokens": %d}}\
                """
                    .formatted(one.at("/usage/prompt_tokens_details/cached_tokens").asInt())));
    assertThat(one.at("/choices/0/finish_reason").asText()).isEqualTo("length");
    assertThat(server.complete(body.formatted(prompt, mode, "")).at("/choices/0/text"))
        .isEqualTo(one.at("/choices/0/text"));
    HttpResponse<String> two =
        server.post("/v1/completions", body.formatted(prompt, mode, ", \"max_tokens\": 2"));
    assertThat(two.statusCode()).isEqualTo(400);
    assertThat(two.body())
        .contains("context of 96 tokens behind this prompt; use 1 or less, or a shorter");
  }

  @Test
  void textOffset_countsCharactersAsClientsCutThem() {
    String prompt = "\uD83D\uDE42 \uD83D\uDE42 a"; // two faces, each of two UTF-16 units
    JsonNode logprobs =
        server
            .complete(
                HttpJson.object()
                    .put("prompt", prompt)
                    .put("max_tokens", 1)
                    .put("echo", true)
                    .put("logprobs", 0)
                    .toString())
            .path("choices")
            .path(0)
            .path("logprobs");

    int prompted = server.served.prompt(prompt, "prompt").size();
    assertThat(logprobs.path("text_offset").path(prompted).asInt())
        .isEqualTo(prompt.codePointCount(0, prompt.length()));
  }

  @Test
  void health_ofAReadyServer_isOk() {
    assertThat(server.get("/health").statusCode()).isEqualTo(200);
    assertThat(server.get("/health").body()).isEqualTo("{\"status\":\"ok\"}");
  }

  @Test
  void metrics_afterATextTellOfIt() {
    server.complete("{\"prompt\": \"the cat\", \"max_tokens\": 3, \"temperature\": 0}");
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
  void metrics_processorTime_neverFalls() {
    assumeTrue(
        Files.exists(Path.of("/proc/self/schedstat")), "skipped: no kernel that counts waits");
    for (String name : List.of("process_cpu_seconds_total", "eellm_cpu_wait_seconds_total")) {
      double before = figure(name);
      Thread.ofPlatform().start(() -> server.get("/health")); // a thread that ends
      assertThat(figure(name)).as(name).isGreaterThanOrEqualTo(before).isLessThan(1e6);
    }
    assertThat(figure("process_cpu_seconds_total")).isPositive();
  }

  private static double figure(String name) {
    return server
        .get("/metrics")
        .body()
        .lines()
        .filter(line -> line.startsWith(name + " "))
        .mapToDouble(line -> Double.parseDouble(line.substring(name.length() + 1)))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void page_everyFileOfItsFolder_isServedWithItsTypeAndTag() throws Exception {
    Path page =
        Path.of(Objects.requireNonNull(Server.class.getResource("page/index.html")).toURI())
            .resolveSibling(".");
    try (Stream<Path> files = Files.list(page)) {
      for (Path file : files.filter(file -> !file.toString().endsWith(".class")).toList()) {
        String path = "/" + file.getFileName();
        HttpResponse<String> response = server.get(path);
        assertThat(response.statusCode()).as(path).isEqualTo(200);
        assertThat(response.body()).as(path).isEqualTo(Files.readString(file)).isNotBlank();
        assertThat(response.headers().firstValue("Content-Type"))
            .contains(
                switch (path.replaceFirst(".*\\.", "")) {
                  case "html" -> "text/html";
                  case "css" -> "text/css";
                  case "js" -> "text/javascript";
                  default -> "image/svg+xml";
                });
        String tag = response.headers().firstValue("ETag").orElseThrow();
        for (String known : List.of(tag, "\"other\", W/" + tag, "*")) {
          HttpResponse<String> again =
              server.send(server.request(path).header("If-None-Match", known).build());
          assertThat(again.statusCode()).as(path + " " + known).isEqualTo(304);
          assertThat(again.body()).isEmpty();
          assertThat(again.headers().firstValue("ETag")).contains(tag);
        }
        assertThat(
                server
                    .send(server.request(path).header("If-None-Match", "\"other\"").build())
                    .statusCode())
            .isEqualTo(200);
      }
    }
    assertThat(server.get("/").body()).contains("<title>eellm");
  }

  @Test
  void start_portInUse_saysSo() {
    int port = server.server.port();

    assertThatThrownBy(() -> Server.start(TestOptions.at(port)))
        .isInstanceOf(ServeException.class)
        .hasMessageContaining("cannot listen at 127.0.0.1:" + port)
        .hasMessageContaining("use another --port");
  }
}
