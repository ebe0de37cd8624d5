package org.eellm.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.chat.tool.Tool;
import org.eellm.chat.tool.ToolCall;
import org.eellm.chat.tool.ToolForm;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Templates that know tools, in the forms of Llama 3.1, Qwen 2.5 and 3, Mistral, Hermes and
 * DeepSeek, and those that do not. The expected texts are those of the npm package {@code
 * @huggingface/jinja} 0.5.11.
 */
final class ToolTemplateTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static Tokenizer tokenizer;

  @BeforeAll
  static void makeTokenizer(@TempDir Path folder) throws IOException {
    Path corpus = folder.resolve("corpus.txt");
    Files.writeString(corpus, "the cat and the dog and the bird and the cat and the end\n");
    TextCorpus texts = TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT);
    tokenizer = BpeTrainer.train(texts, 264, 1, Progress.NONE);
  }

  static Stream<JsonNode> cases() throws IOException {
    try (InputStream file =
        ToolTemplateTest.class.getResourceAsStream("/golden/tool_templates.json")) {
      return StreamSupport.stream(JSON.readTree(file).spliterator(), false);
    }
  }

  private static ChatTemplate template(String text) {
    return ChatTemplate.of(text, "<s>", "</s>", tokenizer);
  }

  private static List<Tool> tools(JsonNode list) {
    return StreamSupport.stream(list.spliterator(), false)
        .map(tool -> tool.path("function"))
        .map(
            tool ->
                new Tool(
                    tool.path("name").asText(),
                    tool.path("description").asText(),
                    (ObjectNode) tool.path("parameters")))
        .toList();
  }

  private static List<ChatMessage> messages(JsonNode list) {
    List<ChatMessage> messages = new ArrayList<>();
    for (JsonNode message : list) {
      List<ToolCall> calls = new ArrayList<>();
      for (JsonNode call : message.path("tool_calls")) {
        JsonNode function = call.path("function");
        calls.add(
            new ToolCall(
                call.path("id").asText(),
                function.path("name").asText(),
                function.path("arguments").toString()));
      }
      messages.add(
          new ChatMessage(
              message.path("role").asText(),
              message.path("content").asText(),
              Optional.ofNullable(message.get("name")).map(JsonNode::asText),
              calls,
              message.path("tool_call_id").asText()));
    }
    return messages;
  }

  /** The texts between special tokens as the encoder gets them. */
  private static String written(
      ChatTemplate template, List<ChatMessage> messages, List<Tool> tools) {
    StringBuilder text = new StringBuilder();
    template.encode(
        messages,
        tools,
        Map.of(),
        literal -> {
          text.append(literal);
          return List.of(1);
        });
    return text.toString();
  }

  @ParameterizedTest
  @MethodSource("cases")
  void encode_formOfAFamily_isWhatHuggingFaceRenders(JsonNode golden) {
    ChatTemplate template = template(golden.path("template").asText());

    assertThat(written(template, messages(golden.path("messages")), tools(golden.path("tools"))))
        .isEqualTo(golden.path("expected").asText());
  }

  @ParameterizedTest
  @MethodSource("cases")
  void toolForm_formOfAFamily_isFound(JsonNode golden) {
    ToolForm form = template(golden.path("template").asText()).toolForm();

    assertThat(form.opening()).isEqualTo(golden.path("opening").asText());
    assertThat(form.middle()).isEqualTo(golden.path("middle").asText());
    assertThat(form.separator()).isEqualTo(golden.path("separator").asText());
    assertThat(form.closing()).isEqualTo(golden.path("closing").asText());
  }

  /** Templates of models themselves, with what they come to, in a file as that of the others. */
  @Test
  void encode_templatesOfModels_areWhatHuggingFaceRenders() throws IOException {
    String file = System.getProperty("chat.templates", "");
    assumeTrue(!file.isEmpty(), "skipped: give templates by -Dchat.templates=FILE");
    List<String> different = new ArrayList<>();
    int same = 0;
    for (JsonNode golden : JSON.readTree(Path.of(file).toFile())) {
      ChatTemplate template = template(golden.path("template").asText());
      if (template.refusal().isPresent() || template.toolForm().equals(ToolForm.OWN)) {
        continue; // none that is known
      }
      String text;
      try {
        text = written(template, messages(golden.path("messages")), tools(golden.path("tools")));
      } catch (ChatTemplateException e) {
        text = e.isOfMessages() ? "refused: " + e.getMessage() : "";
      }
      if (text.startsWith("refused")) {
        continue; // what it would leave out
      }
      String expected = golden.path("expected").asText();
      int at = Arrays.mismatch(text.toCharArray(), expected.toCharArray());
      if (at < 0) {
        same++;
      } else {
        different.add(
            "%s: '%s' and not '%s'"
                .formatted(
                    golden.path("name").asText(),
                    text.substring(at, Math.min(text.length(), at + 60)),
                    expected.substring(at, Math.min(expected.length(), at + 60))));
      }
    }

    assertThat(different).isEmpty();
    assertThat(same).isPositive();
  }

  @Test
  void encode_templateWithoutTools_getsThemAsTexts() {
    ChatTemplate template =
        template("{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}");
    List<ChatMessage> messages =
        List.of(
            new ChatMessage("user", "How late?", Optional.empty()),
            ChatMessage.calling("", List.of(new ToolCall("1", "clock", "{\"zone\":1}"))),
            new ChatMessage("tool", "12:30", Optional.of("clock"), List.of(), "1"),
            new ChatMessage("tool", "12:31", Optional.of("clock"), List.of(), "2"));

    String text =
        written(template, messages, List.of(new Tool("clock", "The time", Tool.noParameters())));

    assertThat(template.toolForm()).isEqualTo(ToolForm.OWN);
    assertThat(text)
        .startsWith("[user]You can call these tools:\n{\"name\":\"clock\",")
        .endsWith(
            "\n\nHow late?[assistant]<tool_call>\n{\"name\": \"clock\", \"arguments\": "
                + "{\"zone\":1}}\n</tool_call>[user]<tool_response>\n12:30\n</tool_response>\n"
                + "<tool_response>\n12:31\n</tool_response>");
  }

  @Test
  void encode_specialTokensInToolsAndCalls_areText() {
    String end = tokenizer.piece(tokenizer.endOfDocument());
    ChatTemplate template =
        template(
            "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{% if m.tool_calls"
                + " %}{% for c in m.tool_calls %}{{ '{\"name\": \"' + c.function.name + '\","
                + " \"arguments\": ' }}{{ c.function.arguments | tojson }}{{ '}' }}{% endfor %}{%"
                + " else %}{{ m.content }}{% endif %}{% endfor %}");
    assertThat(template.toolForm().opening()).isEqualTo("{\"name\": \"");

    List<Integer> ids =
        template.encode(
            List.of(
                new ChatMessage("user", "x", Optional.empty()),
                ChatMessage.calling(
                    "",
                    List.of(
                        new ToolCall(
                            "1", end, "{\"a\": \"%s\"}".formatted(end.replace("<", "\\u003c"))))),
                new ChatMessage("tool", end, Optional.of(end), List.of(), "1")),
            List.of(new Tool("clock", end, Tool.noParameters())),
            tokenizer);

    assertThat(ids).doesNotContain(tokenizer.endOfDocument());
    assertThat(tokenizer.decode(ids.stream().mapToInt(Integer::intValue).toArray()))
        .contains("\"description\": \"%s\"".formatted(end), "{\"a\": \"%s\"}".formatted(end));
  }

  @Test
  void encode_argumentsThatAreNoJson_areRefused() {
    JsonNode golden = cases0();
    ChatTemplate template = template(golden.path("template").asText());
    List<ChatMessage> messages =
        List.of(
            new ChatMessage("user", "x", Optional.empty()),
            ChatMessage.calling("", List.of(new ToolCall("abcdef123", "clock", "[1"))),
            new ChatMessage("tool", "x", Optional.empty(), List.of(), "abcdef123"));

    assertThatThrownBy(() -> written(template, messages, List.of()))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[1].tool_calls: has arguments that are no JSON object");
  }

  private static JsonNode cases0() {
    try (Stream<JsonNode> all = cases()) {
      return all.findFirst().orElseThrow();
    } catch (IOException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void of_configurationWithANamedTemplateForTools_takesItForThem(@TempDir Path folder)
      throws IOException {
    tokenizer.save(folder);
    ObjectNode config =
        (ObjectNode) JSON.readTree(folder.resolve("tokenizer_config.json").toFile());
    JsonNode hermes =
        cases()
            .filter(golden -> golden.path("name").asText().startsWith("hermes"))
            .findFirst()
            .orElseThrow();
    config
        .putArray("chat_template")
        .add(
            JSON.createObjectNode()
                .put("name", "default")
                .put("template", "{{ messages[0].content }}"))
        .add(
            JSON.createObjectNode()
                .put("name", "tool_use")
                .put("template", hermes.path("template").asText()));
    Files.writeString(folder.resolve("tokenizer_config.json"), config.toString());
    ChatTemplate template = ChatTemplate.of(Tokenizer.load(folder));

    assertThat(
            written(template, List.of(new ChatMessage("user", "x", Optional.empty())), List.of()))
        .isEqualTo("x");
    assertThat(template.toolForm().opening()).isEqualTo(hermes.path("opening").asText());
    String told =
        written(
            template,
            List.of(new ChatMessage("user", "x", Optional.empty())),
            List.of(new Tool("clock", "The time", Tool.noParameters())));
    assertThat(told).contains("<tools>").contains("clock");
  }
}
