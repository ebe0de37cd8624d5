package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
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
    List<String> all = new ArrayList<>(List.of("chat", "--model", folder.toString()));
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
  void chat_longerThanTheContext_forgetsTheOldest() {
    String line = "and the cat and the dog and\n";
    assertThat(chat(line.repeat(9), "--max-tokens", "9", "--mode", "speculative")).isZero();

    assertThat(err.toString().split("mean layer", -1)).hasSize(10);
  }

  @Test
  void chat_messageLongerThanTheContext_isRefusedAndTheDialogueGoesOn() {
    assertThat(chat("x".repeat(200) + "\nthe cat\n", "--max-tokens", "5")).isZero();

    assertThat(err.toString())
        .contains("eellm: the prompt has ")
        .contains("but the model's context is 96")
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
  void dialogue_turns_standInTheirOrder() {
    Dialogue dialogue = new Dialogue("Be brief.");
    dialogue.add("How are you?", " Fine.\n");

    assertThat(dialogue.prompt("Why?"))
        .isEqualTo("Be brief.\n\nUser: How are you?\nAssistant: Fine.\nUser: Why?\nAssistant:");
    assertThat(dialogue.forgetOldest()).isTrue();
    assertThat(dialogue.forgetOldest()).isFalse();
    assertThat(dialogue.prompt("Why?")).isEqualTo("Be brief.\n\nUser: Why?\nAssistant:");
    assertThat(new Dialogue("").prompt("Why?")).isEqualTo("User: Why?\nAssistant:");
  }
}
