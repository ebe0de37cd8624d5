package org.eellm.cli.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.cli.Commands.run;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

final class CalibrateCommandTest {
  @TempDir private Path folder;

  private Outcome calibrate(int prompts, String... more) throws IOException {
    return calibrate(Collections.nCopies(prompts, "the cat and"), more);
  }

  private Outcome calibrate(List<String> prompts, String... more) throws IOException {
    String[] all = Arrays.copyOf(more, more.length + 2);
    all[more.length] = "--output";
    all[more.length + 1] = folder.resolve("found/thresholds.json").toString();
    return store(prompts, all);
  }

  /** The same beside the model, unless an option says where. */
  private Outcome store(List<String> prompts, String... more) throws IOException {
    Path model = folder.resolve("model");
    if (Files.notExists(model)) {
      try (Decoder decoder = SmallModel.plain()) {
        SmallModelFolder.write(model, decoder);
      }
    }
    Path file = folder.resolve("prompts.txt");
    Files.write(file, prompts);
    String[] args = {
      "calibrate", "--model", model.toString(), "--prompts", file.toString(), "--max-tokens", "4"
    };
    String[] all = new String[args.length + more.length];
    System.arraycopy(args, 0, all, 0, args.length);
    System.arraycopy(more, 0, all, args.length, more.length);
    return run(all);
  }

  @Test
  void calibrate_enoughPrompts_writesTheFileThatGenerationReads() throws IOException {
    Outcome outcome = calibrate(40, "--delta", "0.9", "--epsilon", "0.2");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("expected calibration error", "100 random halves");
    Path written = folder.resolve("found/thresholds.json");
    assertThat(Calibration.read(written).thresholds()).containsOnlyKeys(1, 2, 4);
    Outcome generated =
        run(
            "generate",
            "--model",
            folder.resolve("model").toString(),
            "--prompt",
            "the cat",
            "--max-tokens",
            "2",
            "--calibration",
            written.toString());
    assertThat(generated.code()).as(generated.err()).isZero();
  }

  @Tag("slow")
  @Test
  void calibrate_onTwoRanks_findsWhatOneFinds() throws IOException {
    List<String> prompts =
        IntStream.range(0, 40).mapToObj(i -> "the cat and the dog ".substring(i % 20) + i).toList();
    String[] options = {"--delta", "0.3", "--epsilon", "0.2"};
    assertThat(calibrate(prompts, options).code()).isZero();
    Path written = folder.resolve("found/thresholds.json");
    Calibration alone = Calibration.read(written);
    assertThat(alone.thresholds().get(1)).isBetween(0.1, 0.9); // neither end of what is tried
    Files.delete(written);

    Outcome outcome =
        calibrate(
            prompts,
            Stream.of(options, new String[] {"--pp", "2", "--nproc", "2", "--threads", "1"})
                .flatMap(Stream::of)
                .toArray(String[]::new));

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(Calibration.read(written)).isEqualTo(alone);
  }

  @ParameterizedTest
  @ValueSource(strings = {"--splits=0", "--gate --draft-vocabulary=60"})
  void calibrate_withoutOutput_isWhatEarlyExitTakesByItself(String options) throws IOException {
    List<String> prompts = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      prompts.add("the cat and the dog " + i);
    }
    String all = "--delta=0.4 --epsilon=0.2 " + options;
    Outcome outcome = store(prompts, all.split(" "));

    assertThat(outcome.code()).as(outcome.err()).isZero();
    Path file = folder.resolve("model/calibration.json");
    assertThat(outcome.out()).contains("written to " + file);
    String told = "tokens leave as " + file + " says; --threshold overrules it\n";
    Outcome taken = generate("--mode=early-exit");
    assertThat(taken.err()).startsWith(told);
    assertThat(taken.out()).isEqualTo(generate("--calibration=" + file).out());
    for (String other : List.of("--threshold=0.3", "--mode=speculative", "--policy=margin")) {
      assertThat(generate(other).err()).doesNotContain("calibration.json");
    }

    Files.writeString(file, "{\"policy\"");
    Outcome damaged = run("generate", "--model", folder.resolve("model").toString(), "--prompt=a");
    assertThat(damaged.code()).isEqualTo(2);
    assertThat(damaged.err()).startsWith("eellm: " + file + " is no JSON; write").hasLineCount(1);
  }

  private Outcome generate(String option) {
    Outcome outcome =
        run(
            "generate",
            "--model",
            folder.resolve("model").toString(),
            "--prompt=the cat",
            "--max-tokens=8",
            option);
    assertThat(outcome.code()).as(outcome.err()).isZero();
    return outcome;
  }

  @Test
  void calibrate_newListOfDrafts_removesGatesOfTheOldOne() throws IOException {
    Outcome _ = calibrate(1); // makes the model
    Path model = folder.resolve("model");
    Path file = model.resolve("calibration.json");
    Gate gate = new Gate(9, 0, 0, new float[32]);
    new Calibration(
            new Calibration.OfGates(new TreeMap<>(Map.of(2, gate))), new TreeMap<>(Map.of(2, 0.5)))
        .write(file);
    try (LoadedModel loaded = LoadedModel.load(model, Device.CPU);
        LoadedModel listed = loaded.withDrafts(new DraftVocabulary(List.of(1, 2)))) {
      assertThat(loaded.calibration()).isPresent();
      assertThat(listed.calibration()).isEmpty();
    }
    assertThat(file).doesNotExist();
  }

  @Test
  void calibrate_withDraftVocabulary_keepsTheIdsThatExitsDraftFrom() throws IOException {
    Outcome outcome =
        calibrate(40, "--delta", "0.9", "--epsilon", "0.2", "--draft-vocabulary", "9");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    Path model = folder.resolve("model");
    List<Integer> ids = DraftVocabulary.read(model, 260).ids();
    assertThat(ids).hasSize(9);
    try (LoadedModel loaded = LoadedModel.load(model, Device.CPU)) {
      assertThat(loaded.vocabulary().draftIds()).isEqualTo(ids);
      List<Integer> written =
          loaded
              .generate(
                  List.of(
                      new Request(
                          loaded.prompt("the cat and", "the prompt"),
                          4,
                          loaded.endTokens(),
                          DecodingMethod.full(),
                          Sampler.greedy())))
              .getFirst()
              .ids();
      assertThat(ids).containsAll(written);
    }
  }

  @Test
  void calibrate_withTemperatures_writesThemAndAPicture() throws IOException {
    Path picture = folder.resolve("reliability.png");
    Outcome outcome =
        calibrate(
            List.of("the cat", "the dog and", "bird", "and the", "cat and the", "the", "dog", "a"),
            "--delta",
            "0.9",
            "--epsilon",
            "0.5",
            "--temperatures",
            "--picture",
            picture.toString());

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).containsPattern("exit 1: agrees on .* at temperature \\d");
    Calibration found = Calibration.read(folder.resolve("found/thresholds.json"));
    assertThat(((Calibration.OfPolicy) found.rule()).temperatures())
        .containsOnlyKeys(1, 2, 4)
        .allSatisfy((layer, value) -> assertThat(value).isBetween(0.1, 10.0));
    assertThat(ImageIO.read(picture.toFile()).getWidth()).isEqualTo(760);
  }

  @Test
  void calibrate_gates_promisesAndWritesWhatGenerationReads() throws IOException {
    List<String> prompts = new ArrayList<>();
    for (int i = 0; i < 24; i++) {
      prompts.add("the cat and the dog " + i);
    }
    String[] options = {"--gate", "--delta", "0.4", "--epsilon", "0.2"};
    Outcome without = calibrate(prompts, options);
    assertThat(without.code()).isEqualTo(2);
    assertThat(without.err())
        .contains("has no short list of tokens; make one with --draft-vocabulary 1024");

    String[] withList = Arrays.copyOf(options, options.length + 2);
    withList[options.length] = "--draft-vocabulary";
    withList[options.length + 1] = "60";
    Outcome outcome = calibrate(prompts, withList);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    // Half of the prompts fitted the gates; the promise is of the others.
    assertThat(outcome.out()).contains("of 12 texts", "100 random halves");
    Path written = folder.resolve("found/thresholds.json");
    Calibration found = Calibration.read(written);
    assertThat(found.thresholds()).containsOnlyKeys(1, 2, 4);
    assertThat(found.policy().gates()).containsOnlyKeys(1, 2, 4);
    String model = folder.resolve("model").toString();
    for (String more : List.of("--temperature=0", "--threshold=0.5", "--mode=propagate")) {
      Outcome generated =
          run(
              "generate",
              "--model",
              model,
              "--prompt",
              "the cat",
              "--max-tokens",
              "4",
              "--calibration",
              written.toString(),
              more);
      assertThat(generated.code()).as(generated.err()).isZero();
    }
    Outcome sweep =
        run(
            "sweep",
            "--model",
            model,
            "--prompts",
            folder.resolve("prompts.txt").toString(),
            "--output",
            folder.resolve("sweep").toString(),
            "--modes=early-exit",
            "--thresholds=0.5",
            "--calibration",
            written.toString(),
            "--max-tokens=4",
            "--rounds=1");
    assertThat(sweep.code()).as(sweep.err()).isZero();
    assertThat(sweep.out()).contains(" gate ");
  }

  @Test
  void calibrate_onATask_promisesItsScore() throws IOException {
    Path data = Files.createDirectories(folder.resolve("data"));
    List<String> records = new ArrayList<>(List.of("start,end"));
    records.addAll(Collections.nCopies(10, "the cat and,the end"));
    Files.write(data.resolve("ends.csv"), records);
    Path task =
        Files.writeString(
            folder.resolve("ends.yaml"),
            """
            task: ends
            output_type: generate_until
            files: ["ends.csv"]
            doc_to_text: "{{ start }}"
            doc_to_target: "{{ end }}"
            max_gen_toks: 4
            metrics: [f1]
            """);
    String[] options = {
      "--delta", "0.5", "--epsilon", "0.2", "--task", task.toString(), "--data", data.toString()
    };
    Outcome outcome = calibrate(1, options);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("falls by is at most 0.5", "of 10 texts");
    String[] few = Arrays.copyOf(options, options.length + 2);
    few[options.length] = "--limit";
    few[options.length + 1] = "2";
    Outcome refused = calibrate(1, few);
    assertThat(refused.code()).isEqualTo(1);
    assertThat(refused.err()).contains("2 texts cannot support the guarantee");
  }

  @Test
  void calibrate_onCode_promisesHowMethodsGoOn() throws IOException {
    Path jar = SourcesJar.write(folder.resolve("some-sources.jar"), 20, true);
    store(List.of("unused"));
    String[] options = {
      "calibrate",
      "--model",
      folder.resolve("model").toString(),
      "--code",
      jar.toString(),
      "--max-tokens",
      "60",
      "--delta",
      "0.9",
      "--epsilon",
      "0.2",
      "--splits",
      "0"
    };
    Outcome outcome = run(options);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("tokens that differ is at most 0.9", "of 20 texts");
    String[] fewer = Arrays.copyOf(options, options.length + 2);
    fewer[options.length] = "--limit";
    fewer[options.length + 1] = "12";
    assertThat(run(fewer).out()).contains("of 12 texts");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--code=x.jar | --code takes the place of --prompts; give one of them",
        "--task=gsm8k | --task and --data go together",
        "--delta=0 | --delta: 0.0 is outside (0, 1); use a share such as 0.05",
        "--epsilon=1 | --epsilon: 1.0 is outside (0, 1); use a share such as 0.05",
        "--limit=0 | --limit: 0 is below 1",
        "--gate --policy=margin | --policy has no effect with --gate",
        "--gate --temperatures | --temperatures has no effect with --gate",
        "--gate --pp=2 | --gate needs the whole model on one rank; leave out --tp and --pp",
        "--task=gsm8k --data=nowhere --limit=0 | --limit: 0 is below 1",
      })
  void calibrate_wrongUse_isRefused(String options, String message) throws IOException {
    Outcome outcome = calibrate(100, options.split(" "));

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains(message);
  }

  /** Before the work whose result would be lost. */
  @Test
  void calibrate_placeThatCannotBeWritten_isRefusedAtOnce() throws IOException {
    String prompts = folder.resolve("nowhere.txt").toString();
    String[] args = {
      "calibrate", "--model", "nowhere", "--prompts", prompts, "--output", folder.toString()
    };
    assertThat(run(args).err()).contains("--output " + folder + ": is a folder; give a file");

    Path file = Files.writeString(folder.resolve("file"), "");
    args[6] = file.resolve("t.json").toString();
    assertThat(run(args).err()).contains("t.json: " + file + " is a file; give another place");

    args[6] = folder.resolve("t.json").toString();
    args[4] = folder.toString();
    Outcome outcome = run(args);
    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).contains(folder + ": is a folder; give a file");
  }

  @Test
  void calibrate_lengthOfNoPrompts_isRefused() {
    Outcome outcome =
        run(
            "calibrate",
            "--model",
            "nowhere",
            "--task",
            "gsm8k",
            "--data",
            "nowhere",
            "--output",
            "nowhere.json",
            "--max-tokens",
            "4");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains("--max-tokens has no effect without --prompts");
  }

  @Test
  void calibrate_tooFewPrompts_isRefusedWithTheNumberNeeded() throws IOException {
    Outcome outcome = calibrate(5);

    assertThat(outcome.code()).isEqualTo(1);
    assertThat(outcome.err()).contains("5 texts cannot support the guarantee", "at least 59");
    Outcome withTemperatures = calibrate(78, "--temperatures"); // a quarter of them for these
    assertThat(withTemperatures.err()).contains("78 texts cannot", "at least 79");
    assertThat(folder.resolve("found/thresholds.json")).doesNotExist();
  }

  @Test
  void calibrate_entropy_isRefused() throws IOException {
    Outcome outcome = calibrate(5, "--policy", "entropy");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains("--policy: entropy");
  }
}
