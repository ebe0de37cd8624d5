package org.eellm.chat;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.IntStream;
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
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

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
    assertThat(template.render(messages(golden.path("messages")), Map.of()))
        .isEqualTo(golden.path("expected").asText());
  }

  @Test
  void render_templateThatRaises_refusesTheMessages() {
    ChatTemplate template =
        ChatTemplate.of(
            "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}"
                + "{% endif %}{{ messages[0].content }}",
            "", "", tokenizer);

    assertThat(template.render(List.of(user("hello")), Map.of())).isEqualTo("hello");
    assertThatThrownBy(
            () ->
                template.render(
                    List.of(new ChatMessage("system", "x", Optional.empty())), Map.of()))
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
  void encode_specialTokensInRolesNamesAndVariables_areText() {
    String end = tokenizer.piece(tokenizer.endOfDocument());
    ChatTemplate template =
        ChatTemplate.of(
            "{{ messages[0].role }},{{ messages[0].name }},{{ messages[0].content }},{{ effort }}",
            "",
            end,
            tokenizer);
    String outside = "\uFDD0999999\uFDD1";

    assertThat(encode(template, new ChatMessage(end, "the cat", Optional.of(end)), end))
        .isEqualTo(ids(end + "," + end + ",the cat," + end));
    assertThatThrownBy(() -> encode(template, said(outside, "the cat"), ""))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[0].role: has U+FDD0");
    assertThatThrownBy(
            () -> encode(template, new ChatMessage("user", "cat", Optional.of(outside)), ""))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[0].name: has U+FDD0");
    assertThatThrownBy(() -> encode(template, user("the cat"), outside))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("chat_template_kwargs.effort: has U+FDD0");
  }

  private List<Integer> encode(ChatTemplate template, ChatMessage message, String effort) {
    ObjectNode variables = new ObjectMapper().createObjectNode().put("effort", effort);
    return template.encode(
        List.of(message),
        template.variables(TemplateVariable.all(variables, "chat_template_kwargs")),
        this::ids);
  }

  /** As Qwen's have it: what they do not know vanishes. */
  private static final String KNOWN_ROLES =
      "{% for m in messages %}{% if m.role == 'user' or m.role == 'assistant' or (m.role =="
          + " 'system' and loop.first) %}<{{ m.role }}>{{ m.content.split('</think>')[-1]|trim }}"
          + "{% endif %}{% endfor %}";

  private static ChatMessage said(String role, String content) {
    return new ChatMessage(role, content, Optional.empty());
  }

  private List<Integer> ids(String text) {
    return Arrays.stream(tokenizer.encode(text)).boxed().toList();
  }

  @Test
  void encode_developer_isTheNewerWordForSystem() {
    ChatTemplate template = ChatTemplate.of(KNOWN_ROLES, "", "", tokenizer);

    assertThat(template.encode(List.of(said("developer", "be brief"), user("hi")), tokenizer))
        .isEqualTo(ids("<system>be brief<user>hi"));
  }

  @Test
  void encode_messageThatTheTemplateLeavesOut_isRefusedByItsPlaceAndRole() {
    ChatTemplate template = ChatTemplate.of(KNOWN_ROLES, "", "", tokenizer);
    ChatTemplate lastSystem =
        ChatTemplate.of(
            "{% set n = namespace(s='') %}{% for m in messages %}{% if m.role == 'system' %}"
                + "{% set n.s = m.content %}{% endif %}{% endfor %}{{ n.s }}: {{"
                + " messages[-1].content }}",
            "", "", tokenizer);

    for (String role : List.of("system", "developer")) {
      assertThatThrownBy(
              () -> template.encode(List.of(user("be brief"), said(role, "brief")), tokenizer))
          .isInstanceOf(ChatTemplateException.class)
          .hasMessage(
              "messages[1]: this model's chat template has no place for this %s message; put its"
                  + " text into another",
              role);
    }
    assertThatThrownBy(
            () ->
                lastSystem.encode(
                    List.of(said("system", "a"), said("developer", "b"), user("a")), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageStartingWith("messages[0]: ");
  }

  @Test
  void encode_templateThatTrimsAndTakesThoughtsOut_leavesOutNoMessage() {
    ChatTemplate template = ChatTemplate.of(KNOWN_ROLES, "", "", tokenizer);

    assertThat(
            template.encode(
                List.of(
                    user("  the cat \n"),
                    said("assistant", "<think>the dog?</think>\n\nthe bird"),
                    user(" "),
                    said("assistant", "<think>no</think>"),
                    user("the end")),
                tokenizer))
        .isEqualTo(ids("<user>the cat<assistant>the bird<user><assistant><user>the end"));
  }

  @ParameterizedTest
  @MethodSource("cases")
  void encode_formOfAFamily_takesAllMessages(JsonNode golden) {
    ChatTemplate template =
        ChatTemplate.of(golden.path("template").asText(), "<s>", "</s>", tokenizer);

    assertThat(template.encode(messages(golden.path("messages")), tokenizer)).isNotEmpty();
  }

  @Test
  void encode_chatBeyondItsBounds_isRefusedWithThem() {
    ChatTemplate template = ChatTemplate.of(KNOWN_ROLES, "", "", tokenizer);
    ChatTemplate thrice =
        ChatTemplate.of(
            "{% for i in range(3) %}{{ messages[0].content }}{% endfor %}", "", "", tokenizer);

    assertThatThrownBy(() -> template.encode(Collections.nCopies(2049, user("a")), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage("messages: 2049 are more than the 2048 of a chat; leave some out");
    assertThat(template.encode(Collections.nCopies(2048, user("a")), tokenizer)).isNotEmpty();
    assertThatThrownBy(
            () -> template.encode(Collections.nCopies(5, user("a".repeat(1_000_000))), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage(
            "messages: 5000000 characters are more than the 4194304 of a chat; shorten them");
    assertThatThrownBy(() -> thrice.encode(List.of(user("a".repeat(2_000_000))), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessage(
            "messages: become more than the 4194304 characters of a chat, or take too long; send"
                + " fewer or shorter ones");
  }

  @Test
  void read_templateOfTheFolder_isTaken() throws IOException {
    Path config = folder.resolve("tokenizer_config.json");
    ObjectMapper mapper = new ObjectMapper();
    ObjectNode root = (ObjectNode) mapper.readTree(Files.readString(config));
    assertThat(read().description()).startsWith("plain dialogue");

    root.put("chat_template", "A{{ messages[0].content }}{{ eos_token }}");
    Files.writeString(config, root.toString());
    assertThat(read().render(List.of(user("x")), Map.of()))
        .isEqualTo("Ax" + tokenizer.piece(tokenizer.endOfDocument()));

    root.putArray("chat_template")
        .add(mapper.createObjectNode().put("name", "tool_use").put("template", "T"))
        .add(mapper.createObjectNode().put("name", "default").put("template", "D"));
    Files.writeString(config, root.toString());
    assertThat(read().render(List.of(user("x")), Map.of())).isEqualTo("D");

    Files.writeString(folder.resolve("chat_template.jinja"), "F\n");
    assertThat(read().render(List.of(user("x")), Map.of())).isEqualTo("F");
  }

  private ChatTemplate read() {
    return ChatTemplate.of(Tokenizer.load(folder));
  }

  /** Some took gigabytes, and most had no end. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ 'x'|center(1000000000) }}",
        "{{ ['x']|map('center', 1000000000) }}",
        "{{ 'x'|indent(1000000000, true) }}",
        "{{ '%1000000000d'|format(1) }}",
        "{{ [1]|batch(1000000000, 'x') }}",
        "{{ 1.5|round(10000000) }}",
        "{{ '1e99999999'|round }}",
        "{{ ['1e99999999', 1]|sum }}",
        "{% set x = 'a'|center(1000000) %}{{ x|replace(' ', x) }}",
        "{% set x = 'a'|center(1000000) %}{{ x.replace(' ', x) }}",
        "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor"
            + " %}",
        "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = [n.l, n.l] %}{% endfor"
            + " %}{{ n.l }}",
        "{% set l = [1] %}{% for i in range(99) %}{% do l.append([l[-1], l[-1]]) %}{% endfor %}{{ l"
            + " }}",
        "{% for i in range(1000) %}{% for j in range(1000) %}{{ 'a'|center(1000000)|upper|length"
            + " }}{% endfor %}{% endfor %}",
        "{% set x = 'a'|center(1000000) %}{% for i in range(1000) %}{% for j in range(1000) %}{% if"
            + " x ~ x == x %}{% endif %}{% endfor %}{% endfor %}",
      })
  void of_templateThatTakesTooMuch_isRefusedBeforeItHasIt(String text) {
    assertThat(ChatTemplate.of(text, "", "", tokenizer).refusal())
        .hasValue("it takes more time or memory than a template may");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "{{ 'x'.center(10**9) }}",
        "{{ 'x'.ljust(10**9) }}",
        "{{ 'x'.rjust(10**9) }}",
        "{{ 'x'.repeat(1000000000) }}",
        "{{ 'x'.format('%1000000000d', 1) }}",
        "{{ 'x' * 10**9 }}",
        "{% set l = [1] %}{% for i in range(99) %}{% do l.extend(l) %}{% endfor %}",
        "{{ 1|add('1e999999999') }}",
      })
  void of_templateWithWhatIsNotSupported_isRefused(String text) {
    assertThat(ChatTemplate.of(text, "", "", tokenizer).refusal()).isPresent();
  }

  @Test
  void render_rangeOfAnyLength_hasAThousandElements() {
    ChatTemplate template = ChatTemplate.of("{{ range(10**9)|length }}", "", "", tokenizer);
    assertThat(template.render(List.of(user("x")), Map.of())).isEqualTo("1000");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = ';',
      value = {
        "{{ 'x'|center(5) }}.   ; '  x  .'",
        "{{ '%s: %d'|format('a', 1700000000) }} ; a: 1700000000",
        "{{ 1700000000.26|round(1) }} ; 1700000000.3",
        "{{ 'a-b'.replace('-', '+') }}{{ 'ab'|replace('b', '..') }} ; a+ba..",
      })
  void render_filtersWithinBounds_doTheirWork(String text, String expected) {
    assertThat(ChatTemplate.of(text, "", "", tokenizer).render(List.of(user("x")), Map.of()))
        .isEqualTo(expected);
  }

  /** A client's longest request is read many times by a template, and has many messages. */
  @Test
  void render_manyMessagesAndLongOnes_isWithinBounds() {
    ChatTemplate template =
        ChatTemplate.of(
            "{% for m in messages %}{% if m.role == 'user' %}{{ m.content|trim }}{% if"
                + " messages[loop.index0 - 1].content|length > 0 %}.{% endif %}{% endif %}{% endfor"
                + " %}",
            "", "", tokenizer);
    assertThat(template.render(List.of(user("x".repeat(2_000_000))), Map.of())).hasSize(2_000_001);
    assertThat(template.render(Collections.nCopies(10_000, user("y")), Map.of())).hasSize(20_000);
  }

  /** As Qwen 3 asks for each message how many there are. */
  @Test
  void render_templateThatReadsAllMessagesForEach_takesTimeByTheirNumber() {
    ChatTemplate template =
        ChatTemplate.of(
            "{% for m in messages[::-1] %}{% if loop.index0 < messages|length %}{{ m.content }}"
                + "{% endif %}{% endfor %}",
            "", "", tokenizer);
    renderSeconds(template, 2000); // compiles

    assertThat(renderSeconds(template, 2000)).isLessThan(12 * renderSeconds(template, 400));
  }

  /** Of this thread's processor, the least of some runs. */
  private static double renderSeconds(ChatTemplate template, int messages) {
    ThreadMXBean threads = ManagementFactory.getThreadMXBean();
    return IntStream.range(0, 5)
        .mapToDouble(
            _ -> {
              long before = threads.getCurrentThreadCpuTime();
              template.render(Collections.nCopies(messages, user("y")), Map.of());
              return (threads.getCurrentThreadCpuTime() - before) / 1e9;
            })
        .min()
        .orElseThrow();
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
    ChatTemplate template = read();

    assertThat(template.description()).contains("refused");
    assertThat(template.refusal()).contains("the filter 'nosuchfilter' is unknown");
    assertThatThrownBy(() -> template.encode(List.of(user("x")), tokenizer))
        .isInstanceOf(ChatTemplateException.class)
        .hasMessageContaining("nosuchfilter");
  }
}
