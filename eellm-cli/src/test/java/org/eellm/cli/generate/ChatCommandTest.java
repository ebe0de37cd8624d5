package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.cli.Commands;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The command on a random model, which does not know how to talk. */
@ExtendWith(OneThread.class)
final class ChatCommandTest {

  @TempDir private static Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeAll
  static void writeModel() throws IOException {
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(folder, model);
    }
  }

  private int chat(String input, String... args) {
    return chat(folder, input, args);
  }

  private int chat(Path model, String input, String... args) {
    List<String> all = new ArrayList<>(List.of("chat", "--model", model.toString()));
    all.addAll(Arrays.asList(args));
    InputStream standard = System.in;
    System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
    try {
      return Commands.run(out, err, all.toArray(String[]::new));
    } finally {
      System.setIn(standard);
    }
  }

  @Test
  void chat_severalMessages_answersEach() {
    assertThat(chat("the cat\n\nthe dog\n", "--max-tokens", "5")).isZero();

    assertThat(err.toString().split("left at", -1)).hasSize(3);
    assertThat(err.toString()).startsWith("> ").contains(" tokens in ");
    assertThat(out.toString()).isNotBlank();
  }

  @Test
  void chat_templateKwargs_reachTheTemplate() throws IOException {
    Path file = folder.resolve("chat_template.jinja");
    Files.writeString(
        file,
        "{{ messages[0].content }}{% if style == 'loud' %}{{ raise_exception('loud!') }}{% endif"
            + " %}");
    try {
      assertThat(chat("the cat\n", "--max-tokens", "2")).isZero();
      assertThat(err.toString()).doesNotContain("loud!");
      assertThat(
              chat("the cat\n", "--max-tokens", "2", "--template-kwargs", "{\"style\": \"loud\"}"))
          .isZero();
      assertThat(err.toString()).contains("eellm: messages: loud!");
      assertThat(chat("", "--template-kwargs", "{\"tone\": 1}")).isEqualTo(2);
      assertThat(err.toString())
          .contains(
              "--template-kwargs.tone: has no effect: this model's chat template does not ask");
      assertThat(chat("", "--template-kwargs", "{\"style\": []}")).isEqualTo(2);
      assertThat(err.toString()).contains("--template-kwargs.style: [] is no text, number, true");
      assertThat(chat("", "--template-kwargs", "style")).isEqualTo(2);
      assertThat(err.toString()).contains("--template-kwargs: is not valid JSON");
    } finally {
      Files.delete(file);
    }
  }

  @Test
  void chat_longerThanTheContext_forgetsTheOldest() {
    String line = "and the cat and the dog and\n";
    assertThat(chat(line.repeat(9), "--max-tokens", "9", "--mode", "speculative")).isZero();

    assertThat(err.toString().split("mean layer", -1)).hasSize(10);
  }

  @Test
  void chat_messageLongerThanTheContext_isRefusedAndTheDialogueGoesOn() {
    assertThat(chat("x".repeat(200) + "\nthe cat\n", "--max-tokens", "5")).isZero();

    assertThat(err.toString())
        .contains("eellm: the message has ")
        .contains("but the model's context is 96; shorten it")
        .contains("mean layer");
  }

  @Test
  void chat_exit_endsBeforeTheEndOfInput() {
    assertThat(chat("/new\n/exit\nthe cat\n")).isZero();

    assertThat(err.toString()).isEqualTo("> > ");
  }

  @Test
  void chat_optionWithoutEffect_isRefusedBeforeTheFirstMessage() {
    assertThat(chat("the cat\n", "--mode", "full", "--threshold", "0.5")).isEqualTo(2);

    assertThat(err.toString())
        .isEqualTo("eellm: --threshold has no effect in the mode full; leave it out\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--temperature=-1 | --temperature: -1.0 is negative",
        "--max-tokens=0 | --max-tokens: 0 is below 1; use 1 or more",
        "--mode=speculative --draft-length=65 | --draft-length: 65 is not a whole number in 1..64",
      })
  void chat_valueThatCannotBe_isRefusedBeforeTheFirstMessage(String options, String message) {
    assertThat(chat("the cat\n", options.split(" "))).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: " + message);
  }

  @Test
  void chat_withoutMaxTokens_answersWithinTheContext() {
    assertThat(chat("the cat\n" + "a dog ".repeat(11) + "\nthe end\n")).isZero();

    assertThat(err.toString().split("mean layer", -1)).hasSize(4);
    assertThat(err.toString()).doesNotContain("eellm: ");
  }

  @Test
  void chat_maxTokensBeyondTheContext_areThoseThatFit() {
    assertThat(chat("the cat\n", "--max-tokens", "500", "--temperature", "0")).isZero();

    assertThat(err.toString()).contains("mean layer").doesNotContain("eellm: ");
  }

  @Test
  void chat_helpAndUnknownCommands_areNoMessages() {
    assertThat(chat("/help\n/quit\n/exit\n")).isZero();

    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .isEqualTo(
            "> %1$s%n> eellm: '/quit' is no command; %1$s%n> ".formatted(ChatCommand.COMMANDS));
  }

  @Test
  void chat_modelWithATemplate_isAskedThroughIt(@TempDir Path templated) throws IOException {
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(templated, model);
    }
    Files.writeString(
        templated.resolve("chat_template.jinja"),
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
            + "{% for message in messages %}[{{ message.content }}]{% endfor %}");
    List<String> greedy = List.of("--max-tokens", "9", "--temperature", "0");

    assertThat(chat(templated, "the cat\n", greedy.toArray(String[]::new))).isZero();
    String answer = out.toString();
    out.getBuffer().setLength(0);
    assertThat(
            Commands.run(
                out,
                err,
                Stream.concat(
                        Stream.of(
                            "generate", "--model", templated.toString(), "--prompt", "[the cat]"),
                        greedy.stream())
                    .toArray(String[]::new)))
        .isZero();

    assertThat(out.toString()).isEqualTo(answer);
    assertThat(chat(templated, "the cat\n", "--system", "Be brief.")).isZero();
    assertThat(err.toString()).contains("eellm: ", "no system here");
  }

  @Test
  void dialogue_turns_standInTheirOrder() {
    Dialogue dialogue = new Dialogue("Be brief.");
    dialogue.add("How are you?", " Fine.\n");

    assertThat(dialogue.messages("Why?").stream().map(said -> said.role() + " " + said.content()))
        .containsExactly("system Be brief.", "user How are you?", "assistant Fine.", "user Why?");
    assertThat(dialogue.forgetOldest()).isTrue();
    assertThat(dialogue.forgetOldest()).isFalse();
    assertThat(dialogue.messages("Why?")).hasSize(2);
    assertThat(new Dialogue("").messages("Why?")).hasSize(1);
  }
}
