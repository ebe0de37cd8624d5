package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.StreamSupport;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Chats whose template, or whose messages, cannot be taken. */
final class ChatTest {
  @TempDir private Path folder;

  @BeforeEach
  void useOneThread() {
    Torch.setThreads(1);
  }

  /** A server of a model with a template. */
  private TestServer start(String template) throws IOException {
    TestServer.tokenizer(folder);
    Files.writeString(folder.resolve("chat_template.jinja"), template);
    return TestServer.start(folder);
  }

  @Test
  void chat_templateThatCannotBeRendered_isRefused() throws IOException {
    try (TestServer server = start("{{ messages | nosuchfilter }}")) {
      var response =
          server.post(
              "/v1/chat/completions",
              "{\"messages\": [{\"role\": \"user\", \"content\": \"the cat\"}]}");
      assertThat(response.statusCode()).isEqualTo(501);
      assertThat(response.body()).contains("use /v1/completions");
      assertThat(server.post("/v1/completions", "{\"prompt\": \"the\"}").statusCode())
          .isEqualTo(200);
    }
  }

  @Test
  void chat_developer_isTheTemplatesSystem() throws IOException {
    try (TestServer server =
        start(
            "{% for m in messages %}{% if m.role in ['user', 'assistant'] or (m.role == 'system'"
                + " and loop.first) %}{{ m.role }}:{{ m.content }};{% endif %}{% endfor %}")) {
      String turn = "{\"role\": \"%s\", \"content\": \"%s\"}";
      String user = turn.formatted("user", "the cat");
      for (String role : new String[] {"system", "developer"}) {
        String first = turn.formatted(role, "be brief");
        JsonNode reply =
            TestServer.answered(
                server.post("/tokenize", "{\"messages\": [%s, %s]}".formatted(first, user)));
        assertThat(reply.path("tokens").toString())
            .isEqualTo(
                Arrays.toString(server.tokenizer.encode("system:be brief;user:the cat;"))
                    .replace(" ", ""));
        assertThat(
                server
                    .chat("{\"messages\": [%s, %s], \"max_tokens\": 1}".formatted(first, user))
                    .at("/usage/prompt_tokens")
                    .asInt())
            .isEqualTo(reply.path("count").asInt());

        var left =
            server.post(
                "/v1/chat/completions",
                "{\"messages\": [%s, %s, %s]}".formatted(user, first, user));
        assertThat(left.statusCode()).isEqualTo(400);
        assertThat(TestServer.json(left).at("/error/param").asText()).isEqualTo("messages[1]");
        assertThat(TestServer.json(left).at("/error/message").asText())
            .isEqualTo(
                "messages[1]: this model's chat template has no place for this %s message; put its text into another"
                    .formatted(role));
      }
    }
  }

  @Test
  void chat_templateKwargsAndEffort_reachTheTemplate() throws IOException {
    try (TestServer server =
        start(
            "{{ messages[0].content }}{% if enable_thinking is defined and not enable_thinking %}"
                + " no{% endif %}{{ reasoning_effort }}")) {
      assertThat(tokens(server, "")).isEqualTo(server.tokenizer.encode("the cat"));
      assertThat(tokens(server, ", \"chat_template_kwargs\": {\"enable_thinking\": false}"))
          .isEqualTo(server.tokenizer.encode("the cat no"));
      assertThat(tokens(server, ", \"reasoning_effort\": \"low\""))
          .isEqualTo(server.tokenizer.encode("the catlow"));
      assertRefused(
          server,
          ", \"chat_template_kwargs\": {\"tone\": 1}",
          "chat_template_kwargs.tone: has no effect");
      assertRefused(
          server,
          ", \"chat_template_kwargs\": {\"enable_thinking\": [1]}",
          "chat_template_kwargs.enable_thinking: [1] is no text, number, true or false");
      assertThat(tokens(server, ", \"reasoning_effort\": \"<|endoftext|>\""))
          .isEqualTo(server.tokenizer.encode("the cat<|endoftext|>"));
      assertRefused(
          server,
          ", \"reasoning_effort\": \"\\ufdd0999999\\ufdd1\"",
          "reasoning_effort: has U+FDD0 or U+FDD1");
      assertRefused(server, ", \"chat_template_kwargs\": 1", "chat_template_kwargs: 1 is not an");
      assertRefused(server, ", \"reasoning_effort\": 1", "reasoning_effort: 1 is not a string");
    }
  }

  private static int[] tokens(TestServer server, String more) {
    JsonNode reply = TestServer.answered(server.post("/tokenize", body(more)));
    return StreamSupport.stream(reply.path("tokens").spliterator(), false)
        .mapToInt(JsonNode::asInt)
        .toArray();
  }

  private static String body(String more) {
    return "{\"messages\": [{\"role\": \"user\", \"content\": \"the cat\"}]" + more + "}";
  }

  private static void assertRefused(TestServer server, String more, String message) {
    var response = server.post("/v1/chat/completions", body(more));
    assertThat(response.statusCode()).isEqualTo(400);
    assertThat(response.body()).contains(message);
  }

  @Test
  void completion_modelWithSamplingValues_drawsByThemUnlessRequestsSay() throws IOException {
    Files.writeString(folder.resolve("generation_config.json"), "{\"do_sample\": false}");
    try (TestServer server = TestServer.start(folder)) {
      JsonNode reply = server.complete("{\"prompt\": \"the cat\", \"max_tokens\": 9}");
      assertThat(reply.at("/choices/0/text").asText()).isEqualTo(server.greedy("the cat", 9));
      JsonNode drawn =
          server.complete(
              "{\"prompt\": \"the cat\", \"max_tokens\": 9, \"temperature\": 2, \"seed\": 1}");
      assertThat(drawn.at("/choices/0/text").asText()).isNotEqualTo(server.greedy("the cat", 9));
    }
  }

  @Test
  void chat_messagesThatTheTemplateDoesNotTake_areABadField() throws IOException {
    try (TestServer server =
        start(
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}"
                + "{% endif %}x")) {
      var response =
          server.post(
              "/v1/chat/completions",
              "{\"messages\": [{\"role\": \"system\", \"content\": \"the cat\"}]}");
      assertThat(response.statusCode()).isEqualTo(400);
      assertThat(response.body())
          .contains("\"messages: no system here\"")
          .contains("\"param\":\"messages\"");
    }
  }
}
