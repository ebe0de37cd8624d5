package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
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

  @Test
  void chat_templateThatCannotBeRendered_isRefused() throws IOException {
    Files.writeString(folder.resolve("chat_template.jinja"), "{{ messages | nosuchfilter }}");
    try (TestServer server = TestServer.start(folder)) {
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
  void chat_messagesThatTheTemplateDoesNotTake_areABadField() throws IOException {
    Files.writeString(
        folder.resolve("chat_template.jinja"),
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}x");
    try (TestServer server = TestServer.start(folder)) {
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
