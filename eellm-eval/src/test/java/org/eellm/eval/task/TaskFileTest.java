package org.eellm.eval.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigException;
import org.eellm.data.DataException;
import org.eellm.eval.EvalException;
import org.eellm.eval.task.Item.Pair;
import org.eellm.eval.task.Item.Question;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.MethodSource;

final class TaskFileTest {
  static final List<String> NAMES = TaskFile.NAMES;

  @TempDir private Path folder;

  @ParameterizedTest
  @FieldSource("NAMES")
  void read_tasksThatComeAlong_areSound(String name) {
    assertThat(TaskFile.read(name).task()).isEqualTo(name);
  }

  static List<Arguments> refused() {
    String name = "task: x\n";
    return List.of(
        arguments("tasks: x", "mine.yaml: task: is missing; give it"),
        arguments(
            name + "output_type: guess",
            "mine.yaml:2: output_type: \"guess\" is not one of loglikelihood, multiple_choice,"
                + " loglikelihood_rolling, generate_until"),
        arguments(
            name + "output_type: generate_until\nfiles: [a.jsonl]\nmetrics: [acc]",
            "mine.yaml:4: metrics: acc is none of generate_until; use one of rouge1, rouge2,"
                + " rouge_l, f1, f1_set, exact_match, quasi_exact_match, final_number"),
        arguments(
            name + "output_type: multiple_choice\nfiles: [a.jsonl]\nmetrics: [acc]",
            "doc_to_choice: belongs to output_type multiple_choice, and only there"));
  }

  @ParameterizedTest
  @MethodSource("refused")
  void read_whatCannotBeHonoured_isRefusedWithItsPlace(String yaml, String message)
      throws IOException {
    Path file = Files.writeString(folder.resolve("mine.yaml"), yaml);

    assertThatThrownBy(() -> TaskFile.read(file.toString()))
        .isInstanceOf(ConfigException.class)
        .hasMessageEndingWith(message);
  }

  @Test
  void read_unknownName_isRefusedWithTheKnownOnes() {
    assertThatThrownBy(() -> TaskFile.read("lambda"))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("task 'lambda' is none of arc_challenge, arc_easy, blimp");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{\"country\": \"Peru\", \"capital\": null} | doc_to_target: capital is null; the record"
            + " has",
        "{\"country\": \"Peru\"} | doc_to_target: there is no capital; the record has the fields"
            + " [country",
      })
  void items_ofARecordWithoutAField_areRefused(String record, String message) throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("capitals.yaml"),
            """
            task: capitals
            output_type: generate_until
            files: ["capitals.jsonl"]
            doc_to_text: "{{ country }}:"
            doc_to_target: "{{ capital }}"
            metrics: [exact_match]
            """);
    Files.writeString(folder.resolve("capitals.jsonl"), record);
    TaskSpec spec = TaskFile.read(file.toString());
    assertThatThrownBy(() -> TaskItems.read(spec, new TaskData(folder, TaskData.ALL, 1)))
        .isInstanceOf(EvalException.class)
        .hasMessageStartingWith("capitals: " + message);
  }

  @Test
  void items_ofOnesOwnTask_areMadeByItsTemplates() throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("capitals.yaml"),
            """
            task: capitals
            output_type: generate_until
            files: ["capitals.csv"]
            num_fewshot: 1
            description: "Name capitals.\\n\\n"
            fields: {place: "{{ country|upper }}"}
            doc_to_text: "{{ place }}:"
            doc_to_target: "{{ capital }}"
            metrics: [exact_match]
            """);
    Files.writeString(
        folder.resolve("capitals.csv"), "country,capital\nPeru,Lima\nChad,N'Djamena\n");

    List<Item> items =
        TaskItems.read(TaskFile.read(file.toString()), new TaskData(folder, TaskData.ALL, 1));

    assertThat(items)
        .containsExactly(
            new Item(
                0,
                "",
                new Question.GenerateUntil(
                    "Name capitals.\n\nCHAD: N'Djamena\n\nPERU:", List.of("Lima"))),
            new Item(
                1,
                "",
                new Question.GenerateUntil(
                    "Name capitals.\n\nPERU: Lima\n\nCHAD:", List.of("N'Djamena"))));
  }

  @Test
  void items_limit_countsEachSubtaskApart() throws IOException {
    Files.createDirectory(folder.resolve("blimp"));
    for (String set : List.of("a", "b")) {
      String line = "{\"sentence_good\": \"1 %s\", \"sentence_bad\": \"2\", \"UID\": \"%s\"}\n";
      Files.writeString(
          folder.resolve("blimp/" + set + ".jsonl"), line.formatted(set, set).repeat(3));
    }

    List<Item> items = TaskItems.read(TaskFile.read("blimp"), new TaskData(folder, 2, 1));

    assertThat(items).map(Item::subtask).containsExactly("a", "a", "b", "b");
    assertThat(items.getFirst().question())
        .isEqualTo(
            new Question.MultipleChoice(
                List.of(new Pair("", "1 a"), new Pair("", "2")), List.of("1 a", "2"), 0));
  }

  @Test
  void items_choicesOfAList_areFoundByTheirLabels() throws IOException {
    Path file =
        Files.writeString(
            folder.resolve("arc.yaml"),
            """
            task: arc
            output_type: multiple_choice
            files: ["arc.jsonl"]
            doc_to_text: "{{ question }}"
            doc_to_choice: ["{{ choices.text }}"]
            choice_labels: "{{ choices.label }}"
            doc_to_target: "{{ answerKey }}"
            metrics: [acc]
            """);
    Files.writeString(
        folder.resolve("arc.jsonl"),
        """
        {"question": "Q", "answerKey": "C", "choices": {"text": ["x", "y", "z"], "label": ["A", "B", "C"]}}
        """);

    Question question =
        TaskItems.read(TaskFile.read(file.toString()), new TaskData(folder, TaskData.ALL, 1))
            .getFirst()
            .question();

    assertThat(question)
        .isEqualTo(
            new Question.MultipleChoice(
                List.of(new Pair("Q", " x"), new Pair("Q", " y"), new Pair("Q", " z")),
                List.of("x", "y", "z"),
                2));
  }

  @Test
  void items_whatARecordLacks_isNamed() throws IOException {
    Files.writeString(folder.resolve("lambada_test.jsonl"), "{\"words\": \"a b\"}\n");

    assertThatThrownBy(
            () -> TaskItems.read(TaskFile.read("lambada"), new TaskData(folder, TaskData.ALL, 1)))
        .isInstanceOf(EvalException.class)
        .hasMessageStartingWith("lambada: doc_to_text: ")
        .hasMessageContaining("text")
        .hasMessageEndingWith("the record has the fields [words]");
  }

  @Test
  void items_missingDataSet_isNamed() {
    assertThatThrownBy(
            () -> TaskItems.read(TaskFile.read("lambada"), new TaskData(folder, TaskData.ALL, 1)))
        .isInstanceOf(DataException.class)
        .hasMessage(folder + ": there is no file lambada_test.jsonl; put the data set there");
  }
}
