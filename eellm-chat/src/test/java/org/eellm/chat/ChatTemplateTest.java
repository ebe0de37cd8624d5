package org.eellm.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
import java.util.Optional;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Templates in the forms of the usual families: Llama 2, 3 and 3.1, Qwen 2.5 and 3, Mistral,
 * ChatML, Gemma and others. The expected texts are those of the npm package
 * {@code @huggingface/jinja} 0.5.11.
 */
final class ChatTemplateTest {
  @TempDir private Path folder;
  private Tokenizer tokenizer;

  @BeforeEach
  void makeTokenizer() throws IOException {
    Path corpus = folder.resolve("corpus.txt");
    Files.writeString(corpus, "the cat and the dog and the bird and the cat and the end\n");
    tokenizer =
        BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            264,
            1,
            Progress.NONE);
    tokenizer.save(folder);
  }

  static Stream<JsonNode> cases() throws IOException {
    try (InputStream file =
        ChatTemplateTest.class.getResourceAsStream("/golden/chat_templates.json")) {
      return StreamSupport.stream(new ObjectMapper().readTree(file).spliterator(), false);
    }
  }

  private static List<ChatMessage> messages(JsonNode list) {
    List<ChatMessage> messages = new ArrayList<>();
    list.forEach(
        message ->
            messages.add(
                new ChatMessage(
                    message.path("role").asText(),
                    message.path("content").asText(),
                    Optional.empty())));
    return messages;
  }

  private static ChatMessage user(String content) {
    return new ChatMessage("user", content, Optional.empty());
  }

  @ParameterizedTest
  @MethodSource("cases")
  void render_formOfAFamily_isWhatHuggingFaceRenders(JsonNode golden) {
    ChatTemplate template =
        ChatTemplate.of(golden.path("template").asText(), "<s>", "</s>", tokenizer);

    assertThat(template.description()).isEqualTo("text");
    assertThat(template.render(messages(golden.path("messages"))))
        .isEqualTo(golden.path("expected").asText());
  }

  @Test
  void render_templateThatRaises_refusesTheMessages() {
    ChatTemplate template =
        ChatTemplate.of(
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}"
                + "{% endif %}{{ messages[0].content }}",
            "", "", tokenizer);

    assertThat(template.render(List.of(user("hello")))).isEqualTo("hello");
    assertThatThrownBy(
            () -> template.render(List.of(new ChatMessage("system", "x", Optional.empty()))))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage("messages: no system here");
  }

  @Test
  void encode_specialTokensOfTheTemplate_areIdsAndThoseSaidAreText() {
    String end = tokenizer.piece(tokenizer.endOfDocument());
    ChatTemplate template =
        ChatTemplate.of(
            "{% for m in messages %}{{ m.content|trim }}{{ eos_token }}{% endfor %}",
            "", end, tokenizer);

    List<Integer> ids =
        template.encode(List.of(user("the " + end + " cat "), user(end)), tokenizer);

    List<Integer> expected = new ArrayList<>();
    Arrays.stream(tokenizer.encode("the " + end + " cat")).forEach(expected::add);
    expected.add(tokenizer.endOfDocument());
    Arrays.stream(tokenizer.encode(end)).forEach(expected::add);
    expected.add(tokenizer.endOfDocument());
    assertThat(ids).isEqualTo(expected);
    assertThat(ids.stream().filter(id -> id == tokenizer.endOfDocument())).hasSize(2);
    assertThatThrownBy(() -> template.encode(List.of(user("a\uFDD0b")), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[0].content: has U+FDD0");
  }

  @Test
  void read_templateOfTheFolder_isTaken() throws IOException {
    Path config = folder.resolve("tokenizer_config.json");
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode root = (ObjectNode) mapper.readTree(Files.readString(config));
    assertThat(ChatTemplate.read(folder, tokenizer).description()).startsWith("plain dialogue");

    root.put("chat_template", "A{{ messages[0].content }}{{ eos_token }}");
    Files.writeString(config, root.toString());
    assertThat(ChatTemplate.read(folder, tokenizer).render(List.of(user("x"))))
        .isEqualTo("Ax" + tokenizer.piece(tokenizer.endOfDocument()));

    root.putArray("chat_template")
        .add(mapper.createObjectNode().put("name", "tool_use").put("template", "T"))
        .add(mapper.createObjectNode().put("name", "default").put("template", "D"));
    Files.writeString(config, root.toString());
    assertThat(ChatTemplate.read(folder, tokenizer).render(List.of(user("x")))).isEqualTo("D");

    Files.writeString(folder.resolve("chat_template.jinja"), "F\n");
    assertThat(ChatTemplate.read(folder, tokenizer).render(List.of(user("x")))).isEqualTo("F");
  }

  /** Before, they had no end, or ended in an error of Java's. */
  @Test
  void of_templateWithoutEnd_isRefused() {
    String loop = "{% for i in range(1000) %}";
    for (String text :
        List.of(
            loop.repeat(3) + "{% endfor %}".repeat(3),
            "{% if 1 %}".repeat(20_000),
            "{% set ns = namespace(a='xxxxxxxxxx') %}"
                + loop
                + "{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a }}")) {
      assertThat(ChatTemplate.of(text, "", "", tokenizer).refusal()).isPresent();
    }
    assertThatThrownBy(() -> ChatTemplate.of("{{ " + "(".repeat(20_000), "", "", tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageContaining("nested too deeply");
  }

  @Test
  void read_templateThatCannotBeRendered_isRefusedWhereItIsUsed() throws IOException {
    Files.writeString(folder.resolve("chat_template.jinja"), "{{ messages | nosuchfilter }}");
    ChatTemplate template = ChatTemplate.read(folder, tokenizer);

    assertThat(template.description()).contains("refused");
    assertThat(template.refusal()).contains("the filter 'nosuchfilter' is unknown");
    assertThatThrownBy(() -> template.encode(List.of(user("x")), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageContaining("nosuchfilter");
  }
}
