package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.http.HttpResponse;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Texts that requests hold to a grammar. */
final class StructuredOutputTest extends WithServer {
  private static final String SCHEMA =
      """
      {"type": "object", "properties": {"ok": {"type": "boolean"},
       "size": {"type": "integer", "minimum": 1, "maximum": 99}}, "required": ["ok", "size"],
       "additionalProperties": false}\
      """;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"name\": \"x\","
            + " \"strict\": true, \"schema\": %s}}",
        "\"structured_outputs\": {\"json\": %s}",
        "\"guided_json\": %s"
      })
  void completion_heldToASchema_isValid(String field) {
    for (int seed = 0; seed < 5; seed++) {
      JsonNode reply =
          server.complete(
              """
              {"prompt": "the cat", "max_tokens": 60, "temperature": 1, "seed": %d, %s}\
              """
                  .formatted(seed, field.formatted(SCHEMA)));

      JsonNode choice = reply.path("choices").path(0);
      assertThat(choice.path("finish_reason").asText()).isEqualTo("stop");
      assertThat(choice.path("text").asText())
          .matches("\\{\"ok\":(true|false),\"size\":[1-9][0-9]?}");
    }
  }

  @Test
  void chat_heldToAChoice_answersWithOneOfIt() {
    JsonNode reply =
        server.chat(
            """
            {"messages": [{"role": "user", "content": "is it?"}], "max_tokens": 20,
             "structured_outputs": {"choice": ["yes", "no, never"]}}\
            """);

    assertThat(reply.path("choices").path(0).path("message").path("content").asText())
        .isIn("yes", "no, never");
  }

  @Test
  void completions_ofOneRequest_areEachHeld() {
    JsonNode reply =
        server.complete(
            """
            {"prompt": ["a", "b"], "n": 4, "max_tokens": 20, "guided_regex": "[0-9]{2}:[0-9]{2}"}\
            """);

    assertThat(reply.path("choices")).hasSize(8);
    assertThat(reply.path("choices"))
        .allMatch(choice -> choice.path("text").asText().matches("[0-9]{2}:[0-9]{2}"));
  }

  @Test
  void completion_heldToAnObject_isOneAsFarAsItGoes() throws IOException {
    JsonNode reply =
        server.complete(
            """
            {"prompt": "x", "max_tokens": 30, "response_format": {"type": "json_object"}}\
            """);

    assertThat(reply.path("choices").path(0).path("text").asText()).startsWith("{");
    if (reply.path("choices").path(0).path("finish_reason").asText().equals("stop")) {
      new ObjectMapper().readTree(reply.path("choices").path(0).path("text").asText());
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "\"guided_json\": {\"not\": {}} | guided_json | schema/not: is not supported here; leave it"
            + " out",
        "\"guided_json\": \"{\" | guided_json | schema: is no JSON",
        "\"guided_regex\": \"(\" | guided_regex | regex: a group is not closed",
        "\"guided_choice\": [] | guided_choice | grammar: no text belongs to it",
        "\"guided_grammar\": \"a\" | guided_grammar | grammar: a rule has no name and ::=",
        "\"guided_regex\": \"a\", \"guided_choice\": [\"a\"] | guided_choice | has no place beside"
            + " guided_regex; give one",
        "\"structured_outputs\": {\"xml\": 1} | structured_outputs.xml | is no field of this"
            + " request",
        "\"response_format\": {\"type\": \"json_schema\"} | response_format.json_schema | is"
            + " missing; give name and schema",
        "\"guided_regex\": \"a\", \"ignore_eos\": true | guided_regex | needs a token that ends the"
            + " text"
      })
  void completion_heldToWhatIsNone_isRefusedByItsField(String field, String param, String says) {
    HttpResponse<String> response =
        server.post("/v1/completions", "{\"prompt\": \"x\", %s}".formatted(field));

    assertThat(response.statusCode()).isEqualTo(400);
    JsonNode error = TestServer.json(response).path("error");
    assertThat(error.path("param").asText()).isEqualTo(param);
    assertThat(error.path("message").asText()).contains(says);
  }
}
