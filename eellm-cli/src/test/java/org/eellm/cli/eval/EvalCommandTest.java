package org.eellm.cli.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.eellm.cli.Commands.run;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.eellm.cli.Commands;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.decode.SmallModel;
import org.eellm.eval.task.Metric;
import org.eellm.eval.task.TaskFile;
import org.eellm.golden.Resources;
import org.eellm.golden.SharedFiles;
import org.eellm.golden.Stories;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.tukaani.xz.XZInputStream;

final class EvalCommandTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir private Path folder;

  private Path smallModel() throws IOException {
    Path target = folder.resolve("model");
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(target, decoder);
    }
    return target;
  }

  private JsonNode results(String output) throws IOException {
    return JSON.readTree(Files.readString(folder.resolve(output).resolve("results.json")));
  }

  /** What stories_likelihoods.py in src/test/python computed with PyTorch. */
  @Test
  void likelihoods_ofStories_equalPyTorchs() throws IOException {
    Path stories = Stories.folder();
    assertLikelihoods(stories, stories.resolve("eval"), stories.resolve("likelihoods.json"));
  }

  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"--tp", "--pp"})
  void likelihoods_onTwoRanks_equalPyTorchs(String kind) throws IOException {
    Path stories = Stories.folder();
    assertLikelihoods(
        stories,
        stories.resolve("eval"),
        stories.resolve("likelihoods.json"),
        "--nproc",
        "2",
        kind,
        "2",
        "--threads",
        "1");
  }

  static Stream<Arguments> stories260K() {
    return SharedFiles.both("models/stories260K", "data/eval");
  }

  /** Of the real sets by a model that others trained, where they are at hand. */
  @ParameterizedTest(allowZeroInvocations = true)
  @MethodSource("stories260K")
  void likelihoods_ofStories260K_equalPyTorchs(Path model, Path sets) throws IOException {
    Path known =
        Resources.folder("/org/eellm/eval/stories260K-likelihoods.json")
            .resolve("stories260K-likelihoods.json");
    assertLikelihoods(model, beginnings(sets), known);
  }

  /** A hundred texts of LAMBADA, and two pairs of each set of BLiMP. */
  private Path beginnings(Path sets) throws IOException {
    Path data = folder.resolve("data");
    Files.createDirectories(data.resolve("blimp"));
    Files.write(
        data.resolve("lambada_test.jsonl"),
        Files.readAllLines(sets.resolve("lambada_test.jsonl")).subList(0, 100));
    try (var tar =
        new TarArchiveInputStream(
            new XZInputStream(Files.newInputStream(sets.resolve("blimp.tar.xz"))))) {
      for (var entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        if (entry.getName().endsWith(".jsonl")) {
          String two =
              new String(tar.readAllBytes(), StandardCharsets.UTF_8)
                  .lines()
                  .limit(2)
                  .collect(Collectors.joining("\n"));
          Files.writeString(
              data.resolve("blimp").resolve(Path.of(entry.getName()).getFileName()), two);
        }
      }
    }
    return data;
  }

  private void assertLikelihoods(Path model, Path data, Path knownFile, String... options)
      throws IOException {
    Path output = folder.resolve("out");
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "eval",
                "--model",
                model.toString(),
                "--tasks",
                "lambada,blimp",
                "--data",
                data.toString(),
                "--output",
                output.toString()));
    arguments.addAll(List.of(options));

    Outcome outcome =
        options.length == 0
            ? run(arguments.toArray(String[]::new))
            : Commands.runAsProcess(folder, arguments);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    JsonNode known = JSON.readTree(knownFile.toFile());
    for (String task : List.of("lambada", "blimp")) {
      List<String> lines = Files.readAllLines(output.resolve("items").resolve(task + ".jsonl"));
      assertThat(known.get(task)).hasSize(100);
      for (int item = 0; item < 100; item++) {
        JsonNode ours = JSON.readTree(lines.get(item + 1)).at("/heads/final");
        JsonNode theirs = known.get(task).get(item);
        assertThat(ours).hasSize(theirs.size());
        for (int i = 0; i < theirs.size(); i++) {
          assertThat(ours.get(i).get("log_likelihood").asDouble())
              .as(task + " " + item)
              .isCloseTo(theirs.get(i).get(0).asDouble(), within(2e-4));
          assertThat(ours.get(i).get("tokens").asInt()).isEqualTo(theirs.get(i).get(1).asInt());
          assertThat(ours.get(i).get("greedy").asBoolean())
              .isEqualTo(theirs.get(i).get(2).asBoolean());
        }
      }
    }
  }

  /** Of four endings one is a sentence of the stories, the others are its words in disorder. */
  @Test
  void hellaswag_ofStories_isEasyForWhoLearnedThem() throws IOException {
    JsonNode hellaswag = hellaswag(Stories.folder(), Stories.folder().resolve("eval"), 100);
    assertThat(hellaswag.get("acc,none").asDouble()).isGreaterThan(0.95);
    assertThat(hellaswag.get("acc_norm,none").asDouble()).isGreaterThan(0.95);
  }

  private JsonNode hellaswag(Path model, Path sets, int limit) throws IOException {
    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            "hellaswag",
            "--data",
            sets.toString(),
            "--limit",
            String.valueOf(limit),
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    return results("out").at("/results/hellaswag");
  }

  @Test
  void text_ofAModelWithExits_hasFiguresOfEachHead() throws IOException {
    Path model = smallModel();
    Path data = Files.createDirectory(folder.resolve("data"));
    String text = "the cat and the dog and the bird ".repeat(12);
    Files.writeString(data.resolve("a.txt"), text + "\n<|endoftext|>\n" + text);

    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            "text",
            "--data",
            data.toString(),
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    JsonNode figures = results("out").at("/results/text");
    for (String filter : List.of("exit_1", "exit_2", "exit_4", "none")) {
      double bits = figures.get("bits_per_byte," + filter).asDouble();
      assertThat(bits).isPositive();
      assertThat(figures.get("byte_perplexity," + filter).asDouble())
          .isCloseTo(Math.pow(2, bits), within(1e-9 * Math.pow(2, bits)));
    }
    assertThat(outcome.out()).contains("| text | 0 | 2 | bits_per_byte | ↓ |");
  }

  @Test
  void eval_ofOneItem_hasNoStandardError() throws IOException {
    Path model = smallModel();
    Path data = Files.createDirectory(folder.resolve("data"));
    Files.writeString(data.resolve("lambada_test.jsonl"), "{\"text\": \"the cat and the bird\"}");

    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            "lambada",
            "--data",
            data.toString(),
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("| lambada | 0 | 1 | acc |").doesNotContain("NaN", "±");
    JsonNode figures = results("out").at("/results/lambada");
    assertThat(figures.get("acc_stderr,none").asText()).isEqualTo("N/A");
  }

  @Test
  void eval_thatWasStopped_goesOnAndComesToTheSame() throws IOException {
    Path model = smallModel();
    Path data = Files.createDirectory(folder.resolve("data"));
    List<String> lines = new ArrayList<>();
    for (int i = 0; i < 40; i++) {
      lines.add("{\"text\": \"the cat and the bird %d\"}".formatted(i));
    }
    Files.write(data.resolve("lambada_test.jsonl"), lines);
    String[] command = {
      "eval",
      "--model",
      model.toString(),
      "--tasks",
      "lambada",
      "--data",
      data.toString(),
      "--output",
      folder.resolve("out").toString()
    };
    assertThat(run(command).code()).isZero();
    JsonNode whole = results("out").get("results");
    Path items = folder.resolve("out/items/lambada.jsonl");
    String all = Files.readString(items);
    String cutShort = all.substring(0, all.length() * 2 / 3);
    Files.writeString(items, cutShort);

    assertThat(run(command).code()).isZero();

    assertThat(Files.readString(items))
        .startsWith(cutShort.substring(0, cutShort.lastIndexOf('\n') + 1));
    JsonNode again = results("out").get("results");
    for (String filter : List.of("exit_1", "exit_2", "exit_4", "none")) {
      double perplexity = whole.at("/lambada/perplexity," + filter).asDouble();
      assertThat(again.at("/lambada/perplexity," + filter).asDouble())
          .isCloseTo(
              perplexity, within(1e-5 * perplexity)); // blocks of other sizes round otherwise
    }
    String[] other = command.clone();
    other[6] = folder.toString();
    Files.writeString(folder.resolve("lambada_test.jsonl"), "{\"text\": \"another text\"}\n");
    Outcome refused = run(other);
    assertThat(refused.code()).isEqualTo(2);
    assertThat(refused.err())
        .contains("has outcomes of another model, task or setting (items was ");
    List<String> more = new ArrayList<>(List.of(command));
    more.addAll(List.of("--quantize", "int8"));
    assertThat(run(more.toArray(String[]::new)).err())
        .contains("(variant was ... none, quantization NONE\" and is ");
    more.set(more.size() - 2, "--num-fewshot");
    more.set(more.size() - 1, "0");
    more.addAll(List.of("--exits", "1,2"));
    assertThat(run(more.toArray(String[]::new)).err()).contains("exits=[], ", "exits=[1, 2], ");
  }

  @Test
  void writtenAnswers_areCutAtStopsAndMeasured() throws IOException {
    Path model = smallModel();
    Path data = Files.createDirectory(folder.resolve("data"));
    Files.writeString(
        data.resolve("echo.yaml"),
        """
        task: echo
        output_type: generate_until
        files: ["echo.jsonl"]
        doc_to_text: "{{ q }}"
        doc_to_target: "{{ a }}"
        max_gen_toks: 12
        metrics: [f1, exact_match]
        """);
    Files.writeString(
        data.resolve("echo.jsonl"),
        "{\"q\": \"the cat\", \"a\": \"and the dog\"}\n{\"q\": \"the dog\", \"a\": \"and\"}\n");

    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            data.resolve("echo.yaml").toString(),
            "--data",
            data.toString(),
            "--threshold",
            "0",
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("echo: tokens left at layer 1.00 of 5 on average.");
    assertThat(results("out").at("/results/echo/f1,none").isNumber()).isTrue();
  }

  /** Every task whose data set is Parquet, from its file to its figures. */
  @Test
  void tasksOfParquetFiles_runToTheirMetrics() throws IOException {
    Path model = smallModel();
    Path sets = Path.of("eellm-eval/src/test/resources/org/eellm/eval/sets");
    List<String> tasks =
        List.of(
            "mmlu",
            "arc_easy",
            "arc_challenge",
            "boolq",
            "winogrande",
            "cnn_dailymail",
            "xsum",
            "narrativeqa",
            "naturalqa",
            "gsm8k");

    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            String.join(",", tasks),
            "--data",
            sets.toString(),
            "--max-tokens",
            "8",
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    JsonNode all = results("out").get("results");
    for (String task : tasks) {
      JsonNode figures = all.get(task);
      for (Metric metric : TaskFile.read(task).metrics()) {
        assertThat(figures.get(metric + ",none").asDouble()).as(task).isBetween(0.0, 1.0);
        assertThat(figures.has(metric + "_stderr,none")).as(task).isTrue();
      }
      assertThat(folder.resolve("out/items/" + task + ".jsonl")).isNotEmptyFile();
    }
    assertThat(all.get("mmlu_world_religions").get("acc,exit_2").isNumber()).isTrue();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--output=MODEL/config.json/out | --output MODEL/config.json/out: MODEL/config.json is a"
            + " file; give another folder",
        "--calibration=MODEL | MODEL: is a folder; give a file",
        "--tasks=nowhere.yaml | nowhere.yaml: no such file or folder",
        "--batch-size=0 | --batch-size: 0 is below 1; use 1 or more",
        "--num-fewshot=-1 | --num-fewshot: -1 is negative; use 0 or more",
        "--max-tokens=0 | --max-tokens: 0 is below 1; use 1 or more",
        "--mode=speculative --draft-length=65 | --draft-length: 65 is not a whole number in 1..64",
      })
  void valuesThatCannotBe_areRefusedByTheirOptions(String options, String message)
      throws IOException {
    String model = smallModel().toRealPath().toString();
    List<String> args = new ArrayList<>();
    args.addAll(List.of("eval", "--model", model, "--data", folder.toString()));
    if (!options.startsWith("--tasks")) {
      args.addAll(List.of("--tasks", "gsm8k"));
    }
    if (!options.startsWith("--output")) {
      args.addAll(List.of("--output", folder.resolve("out").toString()));
    }
    args.addAll(List.of(options.replace("MODEL", model).split(" ")));

    Outcome outcome = run(args.toArray(String[]::new));

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("eellm: " + message.replace("MODEL", model));
  }

  @Test
  void settingsWithoutEffect_areRefused() throws IOException {
    Path model = smallModel();

    Outcome outcome =
        run(
            "eval",
            "--model",
            model.toString(),
            "--tasks",
            "lambada",
            "--data",
            folder.toString(),
            "--threshold",
            "0.5",
            "--output",
            folder.resolve("out").toString());

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err())
        .contains("--threshold has no effect: none of the tasks writes answers; leave it out");
  }
}
