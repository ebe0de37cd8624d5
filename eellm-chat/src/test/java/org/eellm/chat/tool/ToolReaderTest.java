package org.eellm.chat.tool;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.eellm.chat.tool.ToolReader.Part;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ToolReaderTest {
  private static final ToolForm LLAMA =
      new ToolForm("{\"name\": \"", "\", \"parameters\": ", "", "}", false);
  private static final ToolForm MISTRAL =
      new ToolForm(
          "[TOOL_CALLS] [{\"name\": \"", "\", \"arguments\": ", "}, {\"name\": \"", "}]", false);

  private static ToolForm form(String name) {
    return switch (name) {
      case "llama" -> LLAMA;
      case "mistral" -> MISTRAL;
      default -> ToolForm.OWN;
    };
  }

  /** Pieces of any lengths come to what the whole does. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "own | just < text | just < text | ",
        "own | ends with <tool_ | ends with <tool_ | ",
        "own | Let me see. \\n<tool_call>\\n{\"name\": \"a\", \"arguments\": {}}\\n</tool_call>"
            + " | Let me see. | a {}",
        "own | <tool_call>\\n"
            + "{\"name\": \"a\", \"arguments\": {\"x\":\"}\\\\\"{\"}}\\n"
            + "</tool_call>\\n"
            + "<tool_call>\\n"
            + "{\"name\": \"b\", \"arguments\": {\"y\":{\"z\":[{}]}}}\\n"
            + "</tool_call> | `` | a {\"x\":\"}\\\\\"{\"};b {\"y\":{\"z\":[{}]}}",
        "own | <tool_call>\\n{\"name\": \"a\", \"arguments\": {\"x\":1 | `` | a {\"x\":1",
        "own | <tool_call>\\n{\"na | `` | ",
        "llama | {\"name\": \"a\", \"parameters\": {\"x\":1}} | `` | a {\"x\":1}",
        "llama | {\"name\":\"a\"} | {\"name\":\"a\"} | ",
        "llama | It is {\"name\": \"a\", \"parameters\": {}} | It is {\"name\": \"a\","
            + " \"parameters\": {}} | ",
        "llama | {\"na | {\"na | ",
        "mistral | [TOOL_CALLS] [{\"name\": \"a\", \"arguments\": {\"x\":1}}, {\"name\": \"b\","
            + " \"arguments\": {}}] | `` | a {\"x\":1};b {}",
      })
  void append_answerInPieces_isReadAsTheWhole(
      String name, String written, String text, String calls) {
    String answer = written.replace("\\n", "\n").replace("\\\\", "\\");
    Random random = new Random(5);
    for (int turn = 0; turn < 50; turn++) {
      ToolReader reader = new ToolReader(form(name));
      List<Part> parts = new ArrayList<>();
      for (int at = 0; at < answer.length(); ) {
        int end = Math.min(answer.length(), at + random.nextInt(turn == 0 ? 999 : 9));
        parts.addAll(reader.append(answer.substring(at, end)));
        at = end;
      }
      parts.addAll(reader.finish());

      ToolReader.Answer read = ToolReader.Answer.of(parts);
      assertThat(read.text().strip()).isEqualTo(text);
      assertThat(
              String.join(
                  ";",
                  read.calls().stream().map(call -> call.name() + " " + call.arguments()).toList()))
          .isEqualTo(calls == null ? "" : calls.replace("\\\\", "\\"));
      assertThat(reader.calls()).isEqualTo(read.calls().size());
      assertThat(read.calls()).allMatch(call -> call.id().matches("[a-z0-9]{9}"));
    }
  }

  @Test
  void append_blanksBeforeACall_areToldOnceAWordFollows() {
    ToolReader reader = new ToolReader(ToolForm.OWN);

    assertThat(reader.append("a \n")).containsExactly(new Part.Text("a"));
    assertThat(reader.append("b")).containsExactly(new Part.Text(" \nb"));
    assertThat(reader.append(" ")).isEmpty();
    assertThat(reader.finish()).containsExactly(new Part.Text(" "));
  }
}
