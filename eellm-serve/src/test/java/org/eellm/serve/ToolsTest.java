package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tools, which random models call as their grammar has it. */
@ExtendWith(OneThread.class)
final class ToolsTest {
  private static final String TOOLS =
      """
      "tools": [
       {"type": "function", "function": {"name": "weather", "description": "Of a place",
        "parameters": {"type": "object", "properties": {"days": {"type": "integer", "minimum": 1,
         "maximum": 9}, "place": {"enum": ["Köln", "Bonn"]}}, "required": ["days", "place"],
         "additionalProperties": false}, "strict": true}},
       {"type": "function", "function": {"name": "clock"}}]\
      """;
  private static final String WEATHER = "\\{\"days\":[1-9],\"place\":\"(Köln|Bonn)\"}";
  private static final int MARK = 260; // the id of [TOOL_CALLS]

  /** In the form of Mistral's, whose mark of calls is a special token. */
  private static final String TEMPLATE =
      """
      {% if tools %}[TOOLS]{{ tools | tojson }}{% endif %}{% for m in messages %}\
      {% if m.tool_calls %}[TOOL_CALLS] [{% for c in m.tool_calls %}\
      {{ (c.function | tojson)[:-1] + ', "id": "' + c.id + '"}' }}\
      {% if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}\
      {% else %}[{{ m.role }}]{{ m.content }}{% endif %}{% endfor %}\
      """;

  /** Without a template: tools are told of in our own form. */
  private static TestServer server;

  private static TestServer marked;

  @BeforeAll
  static void start(@TempDir Path own, @TempDir Path folder) throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    server = TestServer.start(own, SmallModel.withContext(exits, 4096));
    TestServer.tokenizer(folder);
    Files.writeString(folder.resolve("chat_template.jinja"), TEMPLATE);
    Path file = folder.resolve("tokenizer.json");
    ObjectNode tokenizer = (ObjectNode) TestServer.json(Files.readString(file));
    ObjectNode mark = tokenizer.withArray("added_tokens").addObject();
    mark.put("id", MARK).put("content", "[TOOL_CALLS]").put("special", true);
    for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
      mark.put(flag, false);
    }
    Files.writeString(file, tokenizer.toString());
    marked = TestServer.start(folder, SmallModel.withContext(exits, 4096));
  }

  @AfterAll
  static void stop() {
    server.close();
    marked.close();
  }

  private static String body(String more) {
    return """
    {"messages": [{"role": "user", "content": "How is the weather?"}], "max_tokens": %d, %s}\
    """
        .formatted(more.contains("tools") ? 300 : 9, more);
  }

  private static JsonNode choice(TestServer server, String more) {
    return server.chat(body(more)).path("choices").path(0);
  }

  private static void assertValid(JsonNode call) {
    assertThat(call.path("id").asText()).matches("[a-z0-9]{9}");
    assertThat(call.path("type").asText()).isEqualTo("function");
    JsonNode function = call.path("function");
    assertThat(function.path("name").asText()).isIn("weather", "clock");
    assertThat(function.path("arguments").asText())
        .matches(function.path("name").asText().equals("clock") ? "\\{}" : WEATHER);
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void chat_toolIsRequired_callsToolsWithValidArguments(boolean ofTemplate) {
    for (int seed = 0; seed < 5; seed++) {
      JsonNode choice =
          choice(
              ofTemplate ? marked : server,
              TOOLS + ", \"tool_choice\": \"required\", \"seed\": " + seed);

      assertThat(choice.path("finish_reason").asText()).isEqualTo("tool_calls");
      assertThat(choice.path("message").path("content").isNull()).isTrue();
      assertThat(choice.path("message").path("tool_calls")).isNotEmpty();
      choice.path("message").path("tool_calls").forEach(ToolsTest::assertValid);
    }
  }

  @Test
  void chat_oneFunctionAndNotParallel_callsItOnce() {
    for (int seed = 0; seed < 5; seed++) {
      JsonNode calls =
          choice(
                  server,
                  TOOLS
                      + ", \"parallel_tool_calls\": false, \"tool_choice\": {\"type\":"
                      + " \"function\", \"function\": {\"name\": \"weather\"}}, \"seed\": "
                      + seed)
              .path("message")
              .path("tool_calls");

      assertThat(calls).hasSize(1);
      assertValid(calls.path(0));
      assertThat(calls.path(0).path("function").path("name").asText()).isEqualTo("weather");
    }
  }

  @Test
  void chat_modelWritesTheMark_callsATool() {
    JsonNode choice =
        choice(marked, TOOLS + ", \"seed\": 1, \"logit_bias\": {\"%d\": 100}".formatted(MARK));

    assertThat(choice.path("finish_reason").asText()).isEqualTo("tool_calls");
    choice.path("message").path("tool_calls").forEach(ToolsTest::assertValid);
  }

  @Test
  void chat_modelWritesNoMark_answersWithText() {
    JsonNode choice =
        choice(marked, TOOLS + ", \"seed\": 1, \"logit_bias\": {\"%d\": -100}".formatted(MARK));

    assertThat(choice.path("message").has("tool_calls")).isFalse();
    assertThat(choice.path("message").path("content").asText()).isNotEmpty();
    assertThat(choice.path("finish_reason").asText()).isIn("length", "stop");
  }

  @Test
  void chat_noToolIsToBeCalled_isTheChatWithoutTools() {
    String plain = "\"seed\": 4";
    String text = choice(server, plain).at("/message/content").asText();

    JsonNode none = choice(server, TOOLS + ", \"tool_choice\": \"none\", " + plain).path("message");
    assertThat(none.path("content").asText()).isNotEmpty().startsWith(text);
    assertThat(none.has("tool_calls")).isFalse();
    assertThat(
            choice(server, "\"tool_choice\": \"none\", " + plain).at("/message/content").asText())
        .isEqualTo(text);
  }

  @Test
  void chat_toolsAndAFormat_answersWithOneOfBoth() {
    String format =
        """
        , "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema":
         {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}}}\
        """;
    for (int seed = 0; seed < 8; seed++) {
      JsonNode message = choice(server, TOOLS + format + ", \"seed\": " + seed).path("message");
      if (message.has("tool_calls")) {
        message.path("tool_calls").forEach(ToolsTest::assertValid);
      } else {
        assertThat(message.path("content").asText()).matches("\\{\"ok\":(true|false)}");
      }
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void stream_ofCalls_isTheAnswerInPieces(boolean ofTemplate) {
    TestServer asked = ofTemplate ? marked : server;
    String more = TOOLS + ", \"tool_choice\": \"required\", \"seed\": 7";
    JsonNode whole = choice(asked, more).path("message").path("tool_calls");
    List<String> names = new ArrayList<>();
    List<StringBuilder> arguments = new ArrayList<>();
    String reason = "";

    List<String> events =
        new ArrayList<>(asked.events("/v1/chat/completions", body(more + ", \"stream\": true")));
    assertThat(events.removeLast()).isEqualTo("[DONE]");
    for (String event : events) {
      JsonNode choice = TestServer.json(event).path("choices").path(0);
      assertThat(choice.path("delta").path("content").asText()).isEmpty();
      for (JsonNode call : choice.path("delta").path("tool_calls")) {
        if (call.has("id")) {
          assertThat(call.path("index").asInt()).isEqualTo(names.size());
          names.add(call.path("function").path("name").asText());
          arguments.add(new StringBuilder());
        }
        arguments
            .get(call.path("index").asInt())
            .append(call.path("function").path("arguments").asText());
      }
      reason = choice.path("finish_reason").asText(reason);
    }

    assertThat(reason).isEqualTo("tool_calls");
    assertThat(names).hasSameSizeAs(whole);
    for (int i = 0; i < names.size(); i++) {
      JsonNode function = whole.path(i).path("function");
      assertThat(names.get(i)).isEqualTo(function.path("name").asText());
      assertThat(arguments.get(i)).hasToString(function.path("arguments").asText());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void chat_callsAndResults_areInThePrompt(boolean ofTemplate) {
    TestServer asked = ofTemplate ? marked : server;
    JsonNode answer =
        choice(asked, TOOLS + ", \"tool_choice\": \"required\", \"seed\": 3").path("message");
    ObjectNode body = (ObjectNode) TestServer.json(body(TOOLS));
    body.remove("max_tokens");
    ArrayNode messages = (ArrayNode) body.path("messages");
    messages.add(answer);
    for (JsonNode call : answer.path("tool_calls")) {
      messages
          .addObject()
          .put("role", "tool")
          .put("tool_call_id", call.path("id").asText())
          .put("content", "result of " + call.path("id").asText());
    }

    JsonNode tokens = TestServer.answered(asked.post("/tokenize", body.toString())).path("tokens");
    int[] ids =
        StreamSupport.stream(tokens.spliterator(), false).mapToInt(JsonNode::asInt).toArray();
    String prompt = asked.tokenizer.decode(ids);

    for (JsonNode call : answer.path("tool_calls")) {
      assertThat(prompt)
          .contains("Of a place")
          .contains("{\"name\": \"" + call.path("function").path("name").asText())
          .contains("result of " + call.path("id").asText());
    }
    assertThat(IntStream.of(ids).filter(id -> id == MARK).count()).isEqualTo(ofTemplate ? 1 : 0);
    body.put("max_tokens", 1);
    assertThat(asked.post("/v1/chat/completions", body.toString()).statusCode()).isEqualTo(200);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "\"tools\": 1 | tools | 1 is not a list",
        "\"tools\": [{\"type\": \"custom\"}] | tools[0].type | 'custom' is not offered; use"
            + " function",
        "\"tools\": [{\"type\": \"function\"}] | tools[0].function | is missing",
        "\"tools\": [{\"function\": {}}] | tools[0].function.name | is missing",
        "\"tools\": [{\"function\": {\"name\": \"a b\"}}] | tools[0].function.name | 'a b' is no"
            + " name of up to 64 letters, digits, underscores and dashes",
        "\"tools\": [{\"function\": {\"name\": \"a\", \"parameters\": {\"type\": \"string\"}}}] |"
            + " tools[0].function.parameters.type | is not \"object\", as arguments are",
        "\"tools\": [{\"function\": {\"name\": \"b\"}}, {\"function\": {\"name\": \"a\","
            + " \"parameters\": {\"type\": \"object\", \"properties\": {\"x\": {\"not\": {}}}}}}] |"
            + " tools[1].function.parameters | schema/properties/x/not: is not supported here;"
            + " leave it out",
        "\"tools\": [{\"function\": {\"name\": \"a\"}}, {\"function\": {\"name\": \"a\"}}] | tools"
            + " | 'a' is there twice; give each name once",
        "\"tools\": [{\"function\": {\"name\": \"a\"}}], \"tool_choice\": \"some\" | tool_choice |"
            + " is not none, auto, required, or an object that names a function",
        "\"tools\": [{\"function\": {\"name\": \"a\"}}], \"tool_choice\": {\"type\": \"function\","
            + " \"function\": {\"name\": \"b\"}} | tool_choice.function.name | 'b' is none of the"
            + " tools; name one of them",
        "\"tool_choice\": \"auto\" | tool_choice | has no effect without tools; give tools",
        "\"functions\": [{}] | functions | is not offered here; use tools",
        "\"tools\": [{\"function\": {\"name\": \"a\"}}], \"ignore_eos\": true | tools | needs a"
            + " token that ends the text",
        "\"chat_template_kwargs\": {\"tools\": 1} | chat_template_kwargs.tools | has no effect"
      })
  void chat_toolsThatAreNone_areRefusedByTheirField(String field, String param, String says) {
    assertRefused(body(field), param, says);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"role\": \"tool\", \"content\": \"x\"} | messages[1].tool_call_id | is missing; give the"
            + " id of the call",
        "{\"role\": \"tool\", \"content\": \"x\", \"tool_call_id\": \"1\"} |"
            + " messages[1].tool_call_id | '1' is no call of a message before; give the id of one",
        "{\"role\": \"user\", \"content\": \"x\", \"tool_call_id\": \"1\"} |"
            + " messages[1].tool_call_id | is of messages of tools alone",
        "{\"role\": \"assistant\"} | messages[1].content | is missing",
        "{\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"id\": \"1\", \"type\":"
            + " \"function\", \"function\": {\"name\": \"a\", \"arguments\": \"{x\"}}]} |"
            + " messages[1].tool_calls[0].function.arguments | '{x' is no JSON object; give what"
            + " the model wrote",
        "{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"1\", \"function\": {\"name\":"
            + " \"a\"}}]} | messages[1].tool_calls[0].function.arguments | is missing",
        "{\"role\": \"assistant\", \"tool_calls\": [{\"function\": {\"name\": \"a\"}}]} |"
            + " messages[1].tool_calls[0].id | is missing",
        "{\"role\": \"user\", \"tool_calls\": [{\"id\": \"1\", \"function\": {\"name\": \"a\","
            + " \"arguments\": \"{}\"}}]} | messages[1].tool_calls | are of assistants alone"
      })
  void chat_messagesThatFitNoCall_areRefusedByTheirField(
      String message, String param, String says) {
    assertRefused(
        "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, %s]}".formatted(message),
        param,
        says);
  }

  @Test
  void chat_tooManyOrTooLargeTools_areRefused() {
    String many =
        IntStream.range(0, 10_000)
            .mapToObj("{\"function\": {\"name\": \"f%d\"}}"::formatted)
            .collect(Collectors.joining(",", "\"tools\": [", "]"));
    assertRefused(body(many), "tools", "10000 tools are more than 128; give fewer");

    String properties =
        IntStream.range(0, 15_000)
            .mapToObj("\"p%d\": {}"::formatted)
            .collect(Collectors.joining(",", "{", "}"));
    String huge =
        "\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\","
            + " \"properties\": %s}}}]".formatted(properties);
    assertThat(server.post("/v1/chat/completions", body(huge)).statusCode()).isEqualTo(400);
    String deep = "{\"type\": \"array\", \"items\": ".repeat(105) + "{}" + "}".repeat(105);
    assertRefused(
        body(
            "\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"type\": \"object\","
                + " \"properties\": {\"x\": %s}}}}]".formatted(deep)),
        "tools[0].function.parameters",
        "schemas lie deeper than 100");
  }

  private static void assertRefused(String body, String param, String says) {
    HttpResponse<String> response = server.post("/v1/chat/completions", body);
    assertThat(response.statusCode()).as(response.body()).isEqualTo(400);
    JsonNode error = TestServer.json(response).path("error");
    assertThat(error.path("param").asText()).isEqualTo(param);
    assertThat(error.path("message").asText()).contains(says).doesNotContain("\n");
  }

  /** Clients of others, from a folder in which npm has installed them. */
  @Test
  void clients_forNode_callToolsAndGetObjects() throws IOException {
    String modules = System.getProperty("node.clients", "");
    assumeTrue(
        !modules.isEmpty(),
        "skipped: npm install openai @langchain/openai @ai-sdk/openai-compatible ai zod, and give"
            + " node_modules by -Dnode.clients=FOLDER");

    NodeScripts scripts = NodeScripts.with(ToolsTest.class, "tools", Path.of(modules));

    JsonNode outcome = scripts.run("tools.mjs", server.base());

    for (String name : List.of("openai", "langchain")) {
      JsonNode turns = outcome.path(name);
      assertThat(turns).as(outcome.toString()).hasSizeGreaterThanOrEqualTo(2);
      assertThat(turns.path(0).path(1).asText()).isEqualTo("weather");
      assertThat(turns.path(0).path(2).asText()).matches("(Köln|Bonn): [1-9] days of sun");
      assertThat(turns.path(turns.size() - 1).path(1).asText()).isEqualTo("clock");
    }
    assertThat(outcome.path("openai").path(0).path(0).asText()).isEqualTo("tool_calls");
    assertThat(outcome.path("openaiText").asText()).isEqualTo("string");
    assertThat(outcome.path("langchainEnd").asText()).isEqualTo("string");
    assertThat(outcome.path("ai").toString())
        .isEqualTo("[[\"tool-calls\",true,true],[\"tool-calls\",true,true]]");
    for (String name :
        List.of("openaiStream", "langchainStream", "langchainObject", "aiObject", "aiStream")) {
      assertThat(outcome.path(name).asBoolean()).as(name).isTrue();
    }
  }
}
