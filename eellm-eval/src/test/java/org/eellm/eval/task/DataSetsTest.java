package org.eellm.eval.task;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.dataformat.csv.CsvMapper;
import com.fasterxml.jackson.dataformat.csv.CsvSchema;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.stream.Stream;
import org.eellm.eval.EvalException;
import org.eellm.eval.SnakeCaseJson;
import org.eellm.eval.task.Item.Pair;
import org.eellm.eval.task.Item.Question;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * The tasks that come along, on files in their data sets' published layouts: names, columns and
 * types, with invented records that {@code make_sets.js} wrote by other libraries than ours.
 */
final class DataSetsTest {
  @TempDir Path folder;

  static Path sets() {
    try {
      return Path.of(
          Objects.requireNonNull(DataSetsTest.class.getResource("/org/eellm/eval/sets")).toURI());
    } catch (URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  /** The items without examples in front. */
  private static List<Item> items(String task) {
    return TaskItems.read(
        TaskFile.read(task).withFewshot(0), new TaskData(sets(), TaskData.ALL, 1));
  }

  private static Question question(String task, int item) {
    return items(task).get(item).question();
  }

  private static Question.MultipleChoice choice(String context, int right, String... choices) {
    return new Question.MultipleChoice(
        List.of(choices).stream().map(choice -> new Pair(context, " " + choice)).toList(),
        List.of(choices),
        right);
  }

  @Test
  void mmlu() {
    List<Item> items = items("mmlu");

    assertThat(items).hasSize(12);
    assertThat(items.get(6))
        .isEqualTo(
            new Item(
                6,
                "world_religions",
                choice(
                    "The following are multiple choice questions (with answers) about world"
                        + " religions.\n\n"
                        + "What is test 1's answer?\nA. A1\nB. B1\nC. C1\nD. D1\nAnswer:",
                    1,
                    "A",
                    "B",
                    "C",
                    "D")));
  }

  @ParameterizedTest
  @CsvSource({"arc_easy", "arc_challenge"})
  void arc(String task) {
    String prompt = "Question: Which of these is number %d?\nAnswer:";

    assertThat(question(task, 0))
        .isEqualTo(choice(prompt.formatted(1), 1, "thing A", "thing B", "thing C", "thing D"));
    assertThat(question(task, 1))
        .isEqualTo(
            choice(prompt.formatted(2), 2, "thing A", "thing B", "thing C", "thing D", "thing E"));
    assertThat(question(task, 5)) // some questions number their answers
        .isEqualTo(choice(prompt.formatted(6), 0, "thing 1", "thing 2", "thing 3"));
  }

  @Test
  void boolq() {
    String prompt = "Number %d -- %<d is a \"number\".\nQuestion: is %<d even?\nAnswer:";

    assertThat(question("boolq", 0)).isEqualTo(choice(prompt.formatted(1), 0, "no", "yes"));
    assertThat(question("boolq", 1)).isEqualTo(choice(prompt.formatted(2), 1, "no", "yes"));
  }

  @Test
  void winogrande() {
    Question.MultipleChoice asked = (Question.MultipleChoice) question("winogrande", 0);

    assertThat(asked.right()).isEqualTo(1);
    assertThat(asked.pairs())
        .containsExactly(
            new Pair("The cup does not fit the box 1 because the cup", " is too small."),
            new Pair("The cup does not fit the box 1 because the box", " is too small."));
    assertThat(((Question.MultipleChoice) question("winogrande", 1)).right()).isZero();
  }

  @Test
  void cnnDailymail() {
    assertThat(question("cnn_dailymail", 0))
        .isEqualTo(
            new Question.GenerateUntil(
                "###\nArticle: (Wire) -- In test 1 a cat sat.\n\n“It sat,” said a dog.\n\n"
                    + "Summarize the above article in 3 sentences.\n",
                List.of("Cat 1 sits .\nDog says so .")));
  }

  @Test
  void xsum() {
    assertThat(question("xsum", 0))
        .isEqualTo(
            new Question.GenerateUntil(
                "###\nArticle: In test 1 it rained.\nIt was wet.\n\n"
                    + "Summarize the above article in 1 sentence.\n",
                List.of("Rain 1.")));
  }

  @Test
  void narrativeqa() {
    assertThat(question("narrativeqa", 0))
        .isEqualTo(
            new Question.GenerateUntil(
                "Passage:  Story 1: Ann meets Ben.\n"
                    + "Question: Whom does Ann meet in test 1?\nAnswer:",
                List.of("Ben", "Ben 1")));
  }

  @Test
  void naturalqa() {
    assertThat(question("naturalqa", 1))
        .isEqualTo(
            new Question.GenerateUntil(
                "Question: who is validation 2\nAnswer:", List.of("Ann 2", "Ann")));
  }

  @Test
  void gsm8k() {
    assertThat(question("gsm8k", 0))
        .isEqualTo(
            new Question.GenerateUntil(
                "Q: Ann has 1 cups and buys 1 in test. How many has she?\nA:",
                List.of("She has 1+1=<<1+1=2>>2 cups.\nThe answer is 2")));
  }

  /** As lm-evaluation-harness has it: the subject's first five, in their order. */
  @Test
  void mmlu_examples_areTheFirst() {
    List<Item> items = TaskItems.read(TaskFile.read("mmlu"), new TaskData(sets(), TaskData.ALL, 7));
    String context =
        ((Question.MultipleChoice) items.getLast().question()).pairs().getFirst().context();

    assertThat(context)
        .startsWith(
            "The following are multiple choice questions (with answers) about world religions.\n\n"
                + "What is example 1's answer?\nA. A1\nB. B1\nC. C1\nD. D1\nAnswer: B\n\n"
                + "What is example 2's answer?\nA. A2\nB. B2\nC. C2\nD. D2\nAnswer: C\n\n")
        .endsWith("Answer: B\n\nWhat is test 6's answer?\nA. A6\nB. B6\nC. C6\nD. D6\nAnswer:");
  }

  /** Examples come from the set's other files, as many as the task says. */
  @ParameterizedTest
  @CsvSource({
    "mmlu, What is example, 'Answer: '",
    "cnn_dailymail, In validation, Dog says so .",
    "xsum, In validation, Rain ",
    "narrativeqa, Whom does Ann meet in validation, Answer: Ben",
    "naturalqa, who is train, Answer: Ann ",
    "gsm8k, in train, The answer is ",
  })
  void examples_ofAnotherSplit_standInFront(String task, String question, String answer) {
    List<Item> items = TaskItems.read(TaskFile.read(task), new TaskData(sets(), 1, 1));

    String prompt =
        switch (items.getFirst().question()) {
          case Question.GenerateUntil writing -> writing.prompt();
          case Question.MultipleChoice choice -> choice.pairs().getFirst().context();
          default -> throw new AssertionError(task);
        };
    assertThat(prompt.split(question, -1)).hasSize(6);
    assertThat(prompt.split(answer, -1)).hasSize(6);
  }

  /** The published files are not all Parquet, and data sets are exported as others. */
  @ParameterizedTest
  @CsvSource({
    "arc_challenge, jsonl",
    "arc_easy, json",
    "boolq, jsonl",
    "cnn_dailymail, csv",
    "gsm8k, jsonl",
    "gsm8k, csv",
    "mmlu, jsonl",
    "narrativeqa, json",
    "naturalqa, jsonl",
    "winogrande, jsonl",
    "winogrande, csv",
    "xsum, csv",
  })
  void items_ofOtherKindsOfFiles_areTheSame(String task, String kind) throws IOException {
    TaskSpec spec = TaskFile.read(task).withFewshot(1);
    List<String> patterns =
        Stream.concat(spec.files().stream(), spec.fewshotFiles().stream()).toList();
    for (String pattern : patterns) {
      for (Path file : RecordFiles.find(sets(), pattern)) {
        Path other = folder.resolve(sets().relativize(file).toString().replace("parquet", kind));
        Files.createDirectories(other.getParent());
        write(RecordFiles.read(file, List.of()), kind, other);
      }
    }
    assertThat(TaskItems.read(spec, new TaskData(folder, TaskData.ALL, 1)))
        .isNotEmpty()
        .isEqualTo(TaskItems.read(spec, new TaskData(sets(), TaskData.ALL, 1)));

    Path first = RecordFiles.find(sets(), patterns.getFirst()).getFirst();
    Files.copy(first, folder.resolve(sets().relativize(first)));
    assertThatThrownBy(() -> TaskItems.read(spec, new TaskData(folder, TaskData.ALL, 1)))
        .isInstanceOf(EvalException.class)
        .hasMessageContaining("are of two kinds; keep the data set once");
  }

  private static void write(List<SequencedMap<String, Object>> records, String kind, Path file)
      throws IOException {
    switch (kind) {
      case "jsonl" -> Files.write(file, records.stream().map(SnakeCaseJson::line).toList());
      case "json" -> Files.writeString(file, SnakeCaseJson.line(records));
      default -> {
        CsvSchema.Builder schema = CsvSchema.builder();
        records.getFirst().keySet().forEach(schema::addColumn);
        new CsvMapper().writer(schema.build().withHeader()).writeValue(file.toFile(), records);
      }
    }
  }
}
