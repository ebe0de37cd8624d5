package org.eellm.eval.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.eval.EvalException;
import org.eellm.eval.task.Outcome.Score;
import org.eellm.eval.task.TaskSpec.OutputType;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class OutcomeFileTest {
  private static final String QUESTION =
      """
      {"about":"a model in a folder of a long name, heads its own","settings":[{"threshold":0.5}],\
      "task":{"files":["a"],"max_gen_toks":4}}\
      """;

  @TempDir private Path folder;
  private Path file;

  /** A stand-in for what is kept. */
  private record Said(String text) {}

  @BeforeEach
  void nameFile() {
    file = folder.resolve("said.jsonl");
  }

  private OutcomeFile<Said> open(String fingerprint) {
    return new OutcomeFile<>(file, fingerprint, Said.class);
  }

  /** A line had every kind's fields, most of them without meaning. */
  @ParameterizedTest
  @EnumSource
  void open_linesOfEarlierVersions_givesTheFieldsOfTheirKind(OutputType type) throws IOException {
    Files.writeString(
        file,
        """
        {"a":1}
        {"item":3,"subtask":"s","truncated":true,\
        "heads":{"final":[{"log_likelihood":-1.5,"tokens":2,"greedy":true}]},"right":1,\
        "characters":[4,5],"words":6,"bytes":7,"text":"t","references":["r"],"tokens":8,"mean_layer":2.5}
        """);

    Outcome outcome =
        new OutcomeFile<Outcome>(file, "{\"a\":1}", Outcome.of(type)).outcomes().getFirst();

    SequencedMap<HeadId, List<Score>> heads = new LinkedHashMap<>();
    heads.put(HeadId.FINAL, List.of(new Score(-1.5, 2, true)));
    assertThat(outcome)
        .isEqualTo(
            switch (type) {
              case LOGLIKELIHOOD -> new Outcome.Answer(3, "s", true, heads);
              case MULTIPLE_CHOICE -> new Outcome.Choice(3, "s", true, heads, 1, List.of(4, 5));
              case LOGLIKELIHOOD_ROLLING -> new Outcome.Text(3, "s", true, heads, 6, 7);
              case GENERATE_UNTIL -> new Outcome.Written(3, "s", true, "t", List.of("r"), 8, 2.5);
            });
  }

  @Test
  void add_outcome_writesTheFieldsOfItsKind() throws IOException {
    new OutcomeFile<Outcome>(file, "{}", Outcome.Written.class)
        .add(List.of(new Outcome.Written(3, "s", true, "t", List.of("r"), 8, 2.5)));
    assertThat(Files.readString(file))
        .isEqualTo(
            """
            {}
            {"item":3,"subtask":"s","truncated":true,"text":"t","references":["r"],"tokens":8,"mean_layer":2.5}
            """);
  }

  @Test
  void open_cutAnywhere_keepsTheWholeLines() throws IOException {
    List<Said> said = List.of(new Said("ja"), new Said("süß"));
    open(QUESTION).add(said);
    byte[] whole = Files.readAllBytes(file);
    for (int length = whole.length; length >= 0; length--) {
      Files.write(file, Arrays.copyOf(whole, length));

      long lines =
          new String(whole, 0, length, StandardCharsets.UTF_8)
              .chars()
              .filter(c -> c == '\n')
              .count();

      assertThat(open(QUESTION).outcomes())
          .as("the first %d bytes", length)
          .isEqualTo(said.subList(0, (int) Math.max(0, lines - 1)));
    }
  }

  @Test
  void open_nothingToCut_leavesTheFileAsItIs() throws IOException {
    open(QUESTION).add(List.of(new Said("ja")));
    Files.setLastModifiedTime(file, FileTime.from(Instant.EPOCH));
    var before = Files.readAttributes(file, "lastModifiedTime,fileKey");

    assertThat(open(QUESTION).outcomes()).hasSize(1);

    assertThat(Files.readAttributes(file, "lastModifiedTime,fileKey")).isEqualTo(before);
  }

  @Test
  void open_damageWithinALetter_isRefused() throws IOException {
    open(QUESTION).add(List.of(new Said("süß")));
    byte[] bytes = Files.readAllBytes(file);
    bytes[bytes.length - 5] = 'x'; // the second half of the last letter
    Files.write(file, bytes);

    assertThatThrownBy(() -> open(QUESTION))
        .isInstanceOf(EvalException.class)
        .hasMessage(file + ": is damaged, it is not in UTF-8; remove the file");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "\"max_gen_toks\":4 | \"max_gen_toks\":3 | task.max_gen_toks was 4 and is 3",
        "[\"a\"] | [\"a\",\"b\"] | task.files[1] was not there and is \"b\"",
        "0.5}] | 0.5},{\"patience\":2}] | settings[1] was not there and is {\"patience\":2}",
        "0.5 | 0.6 | settings[0].threshold was 0.5 and is 0.6",
        "its own | other | about was ... a long name, heads its own\" and is ... a long name,"
            + " heads other\"",
      })
  void open_outcomesOfAnotherQuestion_areRefusedWithTheDifference(
      String from, String to, String difference) {
    open(QUESTION);

    assertThatThrownBy(() -> open(QUESTION.replace(from, to)))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("(" + difference + ")");
  }
}
