package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.StreamSupport;
import org.eellm.config.HeadId;
import org.eellm.decode.Scorer;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.MinTokens;
import org.eellm.decode.sample.Penalties;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingParams;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Completions, each compared with what the generator makes of the same by itself. */
final class CompletionTest extends WithServer {
  private static final Sampler GREEDY = new RandomSampler(0, 0, 1, 1, 0);

  private static List<String> texts(JsonNode reply) {
    return StreamSupport.stream(reply.path("choices").spliterator(), false)
        .map(choice -> choice.path("text").asText())
        .toList();
  }

  @Test
  void completion_greedyInFullModel_isTheGeneratorsText() {
    JsonNode reply =
        server.complete(
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

  /** As load generators and common clients send them. */
  @ParameterizedTest
  @CsvSource({"/v1/completions", "/v1/chat/completions"})
  void completion_fieldsThatChangeNothing_areAccepted(String path) {
    String asked =
        path.contains("chat")
            ? "\"messages\": [{\"role\": \"user\", \"content\": \"the cat\"}]"
            : "\"prompt\": \"the cat\"";
    String plain = "{" + asked + ", \"max_tokens\": 9, \"temperature\": 0";
    String more =
        """
        , "ignore_eos": false, "min_tokens": 0, "stop_token_ids": [], "skip_special_tokens": true,
         "top_k": -1, "best_of": 1, "tools": [], "tool_choice": "none"\
        """;

    JsonNode usual = TestServer.json(server.post(path, plain + "}"));
    JsonNode reply = TestServer.json(server.post(path, plain + more + "}"));

    assertThat(usual.path("usage").path("completion_tokens").asInt()).isEqualTo(9);
    assertThat(reply.path("choices")).isEqualTo(usual.path("choices"));
  }

  private static JsonNode always(int end, String fields) {
    return server.complete(
        """
        {"prompt": "the cat", "max_tokens": 12, "logit_bias": {"%d": 100}, "seed": 3, %s}\
        """
            .formatted(end, fields));
  }

  private static int tokens(JsonNode reply) {
    return reply.path("usage").path("completion_tokens").asInt();
  }

  private static String reason(JsonNode reply) {
    return reply.path("choices").path(0).path("finish_reason").asText();
  }

  @ParameterizedTest
  @CsvSource({
    "0, {\"mode\": \"full\"}",
    "0, {\"threshold\": 0.01}",
    "0, {\"mode\": \"recompute\"}",
    "1, {\"mode\": \"speculative\"}",
    "0, {\"mode\": \"speculative\"}",
  })
  void completion_endThatAlwaysComes_endsWhereTheRequestSays(double heat, String mode) {
    int end = server.tokenizer.endOfDocument();
    String rest = ", \"temperature\": %s, \"early_exit\": %s".formatted(heat, mode);

    JsonNode usual = always(end, "\"n\": 1" + rest);
    assertThat(tokens(usual)).isEqualTo(1);
    assertThat(reason(usual)).isEqualTo("stop");

    JsonNode ignoring = always(end, "\"ignore_eos\": true" + rest);
    assertThat(tokens(ignoring)).isEqualTo(12);
    assertThat(reason(ignoring)).isEqualTo("length");
    assertThat(texts(ignoring)).containsExactly(""); // end tokens, which are no text

    JsonNode late = always(end, "\"min_tokens\": 5" + rest);
    assertThat(tokens(late)).isEqualTo(6);
    assertThat(reason(late)).isEqualTo("stop");

    JsonNode own = always(17, "\"ignore_eos\": true, \"stop_token_ids\": [17]" + rest);
    assertThat(tokens(own)).isEqualTo(1);
    assertThat(reason(own)).isEqualTo("stop");
    assertThat(texts(own)).containsExactly(server.text(List.of(17)));

    JsonNode both =
        always(17, "\"ignore_eos\": true, \"stop_token_ids\": [17], \"min_tokens\": 4" + rest);
    assertThat(tokens(both)).isEqualTo(5);
  }

  @ParameterizedTest
  @CsvSource({"0", "1"})
  void completion_minTokensWithDrafts_isTheTextWithout(double heat) {
    List<Integer> usual =
        server
            .alone("the dog", 20, DecodingMethod.full(), new RandomSampler(heat, 0, 1, 1, 5))
            .ids();
    String fields =
        """
        {"prompt": "the dog", "max_tokens": 20, "min_tokens": 15, "stop_token_ids": [%d, %d],
         "temperature": %s, "seed": 5, "early_exit": {"mode": "%s"}}\
        """;
    JsonNode full = server.complete(fields.formatted(usual.get(2), usual.get(5), heat, "full"));
    JsonNode drafts =
        server.complete(fields.formatted(usual.get(2), usual.get(5), heat, "speculative"));

    assertThat(texts(drafts)).isEqualTo(texts(full));
    assertThat(tokens(full)).isGreaterThanOrEqualTo(15);
    assertThat(texts(full)).isNotEqualTo(List.of(server.text(usual)));
  }

  @Test
  void completion_stopTextBeforeMinTokens_isPartOfTheText() {
    String whole = server.greedy("the cat", 12);
    String stop = whole.substring(0, 1);
    String fields =
        "{\"prompt\": \"the cat\", \"max_tokens\": 12, \"temperature\": 0, \"stop\": \"%s\"%s}";
    String escaped = stop.replace("\\", "\\\\").replace("\"", "\\\"").replace("\n", "\\n");

    assertThat(texts(server.complete(fields.formatted(escaped, "")))).containsExactly("");
    JsonNode late = server.complete(fields.formatted(escaped, ", \"min_tokens\": 12"));
    assertThat(tokens(late)).isEqualTo(12);
    assertThat(texts(late).getFirst()).startsWith(stop);
  }

  @Test
  void completion_withoutMaxTokens_hasSixteen() {
    assertThat(
            server
                .complete("{\"prompt\": \"the\", \"temperature\": 0}")
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
            new DecodingMethod.EarlyExit(
                ExitPolicies.among(List.of(1, 4), ExitPolicies.maxProbability(Threshold.of(0.02)))),
            GREEDY);
    JsonNode reply =
        server.complete(
            """
            {"prompt": "the dog", "max_tokens": 20, "temperature": 0, "early_exit":
             {"policy": "max-probability", "threshold": 0.02, "exits": [1, 4], "per_token": true}}\
            """);

    JsonNode tokens = reply.path("choices").path(0).path("early_exit");
    assertThat(tokens).hasSize(alone.tokens().size());
    for (int i = 0; i < tokens.size(); i++) {
      GeneratedToken token = alone.tokens().get(i);
      assertThat(tokens.path(i).path("id").asInt()).isEqualTo(token.id());
      assertThat(tokens.path(i).path("head").asText()).isEqualTo(token.head().toString());
      assertThat(tokens.path(i).path("layer").asInt()).isEqualTo(token.layer());
      assertThat(tokens.path(i).path("confidence").asDouble())
          .isCloseTo(token.confidence(), within(1e-4));
      assertThat(tokens.path(i).path("seconds").asDouble())
          .isBetween(
              tokens.path(Math.max(0, i - 1)).path("seconds").asDouble(),
              reply.path("metrics").path("seconds").asDouble());
    }
    assertThat(tokens.path(0).path("seconds").asDouble()).isPositive();
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
                            .filter(token -> token.head().toString().equals(entry.getKey()))
                            .count()));
    assertThat(alone.tokens()).extracting(GeneratedToken::head).contains(HeadId.exit(1));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"mode\": \"speculative\", \"draft_exit\": 2, \"draft_length\": 3}",
        "{\"mode\": \"speculative\", \"draft_margin\": 0}",
        "{\"mode\": \"speculative\", \"draft_source\": \"text\"}",
        "{\"mode\": \"early-exit\", \"policy\": \"full\"}",
        "{\"mode\": \"recompute\", \"threshold\": 1}",
        "{\"policy\": \"margin\", \"threshold\": {\"1\": 1, \"2\": 1, \"4\": 1}}",
        "{\"policy\": \"entropy\", \"threshold\": 0}",
        "{\"policy\": \"patience\", \"patience\": 9}",
        "{\"policy\": \"max-probability\", \"threshold\": 1, \"threshold_decay\": 0.0}",
      })
  void completion_settingsThatChangeNoToken_giveTheFullModelsText(String earlyExit) {
    // A decaying threshold is at most 1, which random models do not reach either.
    JsonNode reply =
        server.complete(
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
            new DecodingMethod.EarlyExit(ExitPolicies.maxProbability(Threshold.of(0.9))),
            GREEDY);

    assertThat(
            texts(server.complete("{\"prompt\":\"the end\",\"max_tokens\":10,\"temperature\":0}")))
        .containsExactly(server.text(alone.ids()));
  }

  @Test
  void completion_sampling_isTheSamplersOfTheSameSeed() {
    Sampler sampler =
        new RandomSampler(
            new SamplingParams(
                0.8,
                20,
                0.9,
                0.01,
                new Penalties(1.2, 0.5, 0.25),
                Map.of(5, 3.0, 7, -2.0),
                MinTokens.NONE,
                null),
            11);
    Result alone = server.alone("the cat", 20, DecodingMethod.full(), sampler);

    assertThat(
            texts(
                server.complete(
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
        server.complete(
            """
            {"prompt": ["the cat", "the dog"], "n": 3, "max_tokens": 8, "temperature": 1,
             "seed": 5, "early_exit": {"mode": "full"}}\
            """);

    List<String> expected = new ArrayList<>();
    int tokens = 0;
    for (String prompt : List.of("the cat", "the dog")) {
      for (int seed = 5; seed < 8; seed++) {
        Result alone =
            server.alone(prompt, 8, DecodingMethod.full(), new RandomSampler(1, 0, 1, 1, seed));
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

    assertThat(texts(server.complete(body))).isNotEqualTo(texts(server.complete(body)));
  }

  @Test
  void completion_idsAsPrompts_areTakenAsTheyAre() {
    List<Integer> cat = server.served.prompt("the cat", "prompt");
    String ids = cat.toString();
    String more = "\"max_tokens\": 9, \"temperature\": 0, \"early_exit\": {\"mode\": \"full\"}}";

    assertThat(texts(server.complete("{\"prompt\": %s, %s".formatted(ids, more))))
        .containsExactly(server.greedy("the cat", 9));
    assertThat(texts(server.complete("{\"prompt\": [%s, \"the dog\"], %s".formatted(ids, more))))
        .containsExactly(server.greedy("the cat", 9), server.greedy("the dog", 9));
  }

  @Test
  void completion_stop_endsBeforeTheText() {
    String text = server.greedy("the cat", 30);
    String stop = text.substring(10, 12);
    JsonNode reply =
        server.complete(
            HttpJson.object()
                .put("prompt", "the cat")
                .put("max_tokens", 30)
                .put("temperature", 0)
                .put("stop", stop)
                .set("early_exit", HttpJson.object().put("mode", "full"))
                .toString());

    assertThat(texts(reply)).containsExactly(text.substring(0, text.indexOf(stop)));
    assertThat(reply.path("choices").path(0).path("finish_reason").asText()).isEqualTo("stop");
  }

  @Test
  void completion_echoWithLogprobs_hasWhatTheScorerSays() {
    List<Integer> prompt = server.served.prompt("the cat and the dog", "prompt");
    Result alone = server.alone("the cat and the dog", 4, DecodingMethod.full(), GREEDY);
    List<Integer> whole = new ArrayList<>(prompt);
    whole.addAll(alone.ids());
    List<GeneratedToken> scores =
        Scorer.score(server.decoder, server.limits, List.of(whole), HeadId.FINAL, 2).getFirst();

    JsonNode choice =
        server
            .complete(
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
        server.complete(
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
        .isEqualTo(HttpJson.object().put("final", 24));
  }
}
