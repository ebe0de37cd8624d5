package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.config.DataType.FLOAT32;
import static org.eellm.serve.TestServer.json;

import com.fasterxml.jackson.databind.JsonNode;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.util.Collections;
import java.util.List;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.serve.json.HttpJson;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Requests that a server refuses, and what it says of them. */
final class RefusalTest extends WithServer {
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
        "{\"prompt\": \"a\", \"top_k\": -2} | top_k",
        "{\"prompt\": \"a\", \"ignore_eos\": 1} | ignore_eos",
        "{\"prompt\": \"a\", \"min_tokens\": -1} | min_tokens",
        "{\"prompt\": \"a\", \"min_tokens\": 5, \"max_tokens\": 4} | min_tokens",
        "{\"prompt\": \"a\", \"stop_token_ids\": 3} | stop_token_ids",
        "{\"prompt\": \"a\", \"stop_token_ids\": [260]} | stop_token_ids[0]",
        "{\"prompt\": \"a\", \"stop_token_ids\": [1, \"2\"]} | stop_token_ids[1]",
        "{\"prompt\": \"a\", \"skip_special_tokens\": false} | skip_special_tokens",
        "{\"prompt\": \"a\", \"tools\": [{}]} | tools",
        "{\"prompt\": \"a\", \"tools\": {}} | tools",
        "{\"prompt\": \"a\", \"tool_choice\": \"auto\"} | tool_choice",
        "{\"prompt\": \"a\", \"tool_choice\": {\"type\": \"function\"}} | tool_choice",
        "{\"prompt\": \"a\", \"n\": 2, \"best_of\": 1} | best_of",
        "{\"prompt\": \"a\", \"min_p\": 1.5} | min_p",
        "{\"prompt\": \"a\", \"repetition_penalty\": 0} | repetition_penalty",
        "{\"prompt\": \"a\", \"presence_penalty\": 3} | presence_penalty",
        "{\"prompt\": \"a\", \"frequency_penalty\": -3} | frequency_penalty",
        "{\"prompt\": \"a\", \"logit_bias\": {\"x\": 1}} | logit_bias",
        "{\"prompt\": \"a\", \"logit_bias\": {\"260\": 1}} | logit_bias",
        "{\"prompt\": \"a\", \"logit_bias\": {\"1\": 101}} | logit_bias.1",
        "{\"prompt\": \"a\", \"logit_bias\": [1]} | logit_bias",
        "{\"prompt\": \"a\", \"logit_bias\": {\"05\": 1, \"5\": 2}} | logit_bias.5",
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
        "{\"prompt\": \"a\", \"early_exit\": {\"calibrated\": false}} | early_exit.calibrated",
        "{\"prompt\": \"a\", \"early_exit\": {\"policy\": \"best\"}} | early_exit.policy",
        "{\"prompt\": \"a\", \"early_exit\": {\"exits\": [3]}} | early_exit.exits",
        "{\"prompt\": \"a\", \"early_exit\": {\"exits\": [\"1\"]}} | early_exit.exits[0]",
        "{\"prompt\": \"a\", \"early_exit\": {\"policy\": \"fixed\"}} | early_exit.policy",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": \"high\"}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": {\"1\": 1}}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": 5}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": -1}} | early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"policy\": \"margin\", \"threshold\": 1.1}} |"
            + " early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold\": {\"1\": 1, \"2\": 2, \"4\": 1}}} |"
            + " early_exit.threshold.2",
        "{\"prompt\": \"a\", \"early_exit\": {\"mode\": \"full\", \"threshold\": 1}} |"
            + " early_exit.threshold",
        "{\"prompt\": \"a\", \"early_exit\": {\"threshold_decay\": -1}} |"
            + " early_exit.threshold_decay",
        "{\"prompt\": \"a\", \"early_exit\": {\"draft_length\": 3, \"threshold\": 0.5}} |"
            + " early_exit.draft_length",
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
        "{\"messages\": [{\"role\": \"function\", \"content\": \"hi\"}]} | messages[0].role",
        "{\"messages\": [{\"role\": \"user\"}]} | messages[0].content",
        "{\"messages\": [{\"role\": \"user\", \"content\": 5}]} | messages[0].content",
        "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]} |"
            + " messages[0].content[0].type",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\", \"x\": 1}]} | messages[0].x",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [1]} | tools[0]",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"tool_choice\": \"required\"}"
            + " | tool_choice",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"min_tokens\": 999} |"
            + " min_tokens",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"top_logprobs\": 2} |"
            + " top_logprobs",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"max_tokens\": 200,"
            + " \"max_completion_tokens\": 2} | max_tokens",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"functions\": [{}]} |"
            + " functions",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"function_call\": {}} |"
            + " function_call",
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"response_format\":"
            + " {\"type\": \"xml\"}} | response_format.type",
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

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "nonsense | is no JSON (line 1, column 1)",
        "{\"a\": | is JSON that ends too early (line 1, column 6)",
        "{\"a\": 1, \"a\": 2} | has a key twice (line 1, column 13)",
        "{\"prompt\": \"a\"} {} | has more than one value (line 1, column 17)",
        "[[DEEP | is nested too deep, or has too long a name or number",
        "{\"a\": LONG} | is nested too deep, or has too long a name or number",
      })
  void completion_bodyThatIsNoJson_isToldInPlainWords(String body, String problem) {
    HttpResponse<String> response =
        server.post(
            "/v1/completions",
            body.replace("DEEP", "[".repeat(100_000)).replace("LONG", "1".repeat(5000)));

    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(json(response).path("error").path("message").asText())
        .isEqualTo(
            "the body %s; send one object, as in {\"prompt\": \"Hello\"}".formatted(problem));
  }

  @Test
  void chat_moreMessagesThanAChatMayHave_isRefusedWithTheirNumber() {
    String message = "{\"role\": \"user\", \"content\": \"a\"}";
    HttpResponse<String> response =
        server.post(
            "/v1/chat/completions",
            "{\"messages\": [%s]}".formatted(String.join(",", Collections.nCopies(2049, message))));

    assertRefused(response, "messages");
    assertThat(json(response).path("error").path("message").asText())
        .isEqualTo("messages: 2049 are more than the 2048 of a chat; leave some out");
  }

  @Test
  void body_ofTooManyFields_isRefusedWithTheirNumber() {
    StringBuilder fields = new StringBuilder("{\"prompt\": \"a\"");
    for (int i = 0; i < 100_000; i++) {
      fields.append(",\"key").append(i).append("\":1");
    }
    HttpResponse<String> response = server.post("/v1/completions", fields.append('}').toString());

    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(json(response).path("error").path("code").asText()).isEqualTo("too_many_fields");
    assertThat(json(response).path("error").path("message").asText())
        .isEqualTo("the body has more than 32768 fields; send less at once");
  }

  @Test
  void completion_promptOfAMegabyte_isTooLong() {
    HttpResponse<String> response =
        server.post(
            "/v1/completions",
            HttpJson.object().put("prompt", "the cat ".repeat(131_072)).toString());

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
    HttpResponse<String> unknown = server.get("/v1/images");
    assertThat(unknown.statusCode()).isEqualTo(404);
    assertThat(json(unknown).path("error").path("message").asText()).contains("GET /v1/images");
  }

  /** A 400 that names the field. */
  @ParameterizedTest
  @CsvSource({"draft_length, 0", "draft_length, 65"})
  void completion_draftLengthBeyondItsBounds_isRefusedWithThem(String field, int value) {
    HttpResponse<String> response =
        server.post(
            "/v1/completions",
            "{\"prompt\": \"a\", \"early_exit\": {\"mode\": \"speculative\", \"%s\": %d}}"
                .formatted(field, value));

    assertRefused(response, "early_exit." + field);
    assertThat(json(response).path("error").path("message").asText())
        .isEqualTo("early_exit.%s: %d is not a whole number in 1..64".formatted(field, value));
  }

  @Test
  void completion_draftAtTheLastLayer_isRefusedByName() {
    try (TestServer deep =
        TestServer.start(
            folder,
            SmallModel.of(new ExitLayout(List.of(5), true, false, false, false), FLOAT32))) {
      HttpResponse<String> response =
          deep.post(
              "/v1/completions",
              "{\"prompt\": \"a\", \"early_exit\": {\"mode\": \"speculative\", \"draft_exit\":"
                  + " 5}}");

      assertRefused(response, "early_exit.draft_exit");
    }
  }

  private static void assertRefused(HttpResponse<String> response, String param) {
    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    assertThat(json(response).path("error").path("param").asText())
        .as(response.body())
        .isEqualTo(param);
  }
}
