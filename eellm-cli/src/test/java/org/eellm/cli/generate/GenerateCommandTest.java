package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.StreamSupport;
import org.eellm.cli.Main;
import org.eellm.cli.RootCommand;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.SmallModel;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

/** The command on a random model, whose texts make no sense and whose exits are used. */
final class GenerateCommandTest {
  private static final int THREADS = Torch.threads();

  @TempDir private static Path folder;

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @BeforeAll
  static void writeModels() throws IOException {
    Torch.setThreads(1);
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), model);
    }
    try (Decoder model =
        SmallModel.of(new ExitLayout(List.of(), false, false, false, false), DataType.FLOAT32)) {
      SmallModelFolder.write(folder.resolve("without-exits"), model);
    }
  }

  @AfterAll
  static void useAllThreads() {
    Torch.setThreads(THREADS);
  }

  private int generate(String... args) {
    return generateFrom("model", args);
  }

  private int generateFrom(String model, String... args) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    List<String> all =
        new ArrayList<>(List.of("generate", "--model", folder.resolve(model).toString()));
    all.addAll(Arrays.asList(args));
    CommandLine commandLine = RootCommand.commandLine();
    commandLine.setOut(new PrintWriter(out, true)).setErr(new PrintWriter(err, true));
    return Main.run(commandLine, all.toArray(String[]::new));
  }

  private List<JsonNode> json(String... args) throws IOException {
    List<String> all = new ArrayList<>(List.of(args));
    all.add("--json");
    assertThat(generate(all.toArray(String[]::new))).as(err.toString()).isZero();
    List<JsonNode> objects = new ArrayList<>();
    for (String line : out.toString().lines().toList()) {
      objects.add(new ObjectMapper().readTree(line));
    }
    return objects;
  }

  private static List<String> strings(JsonNode array) {
    return StreamSupport.stream(array.spliterator(), false).map(JsonNode::asText).toList();
  }

  @Test
  void generate_text_goesToStdoutAndFiguresToStderr() {
    assertThat(generate("--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5"))
        .isZero();
    assertThat(err.toString())
        .matches(
            "\\d+ tokens in \\d+\\.\\d\\d s, [\\d.]+ tokens/s; left at .*; mean layer [\\d.]+ of"
                + " 5\n");
    assertThat(out.toString()).endsWith("\n").doesNotContain("\u001b");
  }

  @Test
  void generate_json_hasAnEntryForEachToken() throws IOException {
    JsonNode result =
        json("--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5", "--exits", "2,4")
            .getFirst();

    int count = result.get("ids").size();
    assertThat(count).isPositive();
    assertThat(result.get("exits")).hasSize(count);
    assertThat(result.get("confidences")).hasSize(count);
    assertThat(strings(result.get("heads"))).hasSize(count).isSubsetOf("exit_2", "exit_4", "final");
    assertThat(strings(result.get("exits"))).isSubsetOf("2", "4", "5");
    assertThat(result.get("tokens_per_second").asDouble()).isPositive();
    assertThat(result.get("prompt_tokens").asInt()).isPositive();
    assertThat(result.get("finish_reason").asText()).isIn("length", "end_token");
  }

  @Test
  void generate_severalPrompts_printsEachInOrderAsAlone() throws IOException {
    Path file = folder.resolve("prompts.txt");
    Files.writeString(file, "the dog\n\nbird and\n");
    String[] sampling = {"--temperature", "1", "--seed", "3", "--max-tokens", "9"};
    List<JsonNode> together =
        json(concat(sampling, "--prompt", "the cat", "--prompt-file", file.toString()));

    assertThat(together).hasSize(3);
    List<String> prompts = List.of("the cat", "the dog", "bird and");
    for (int i = 0; i < 3; i++) {
      JsonNode alone = json(concat(sampling, "--prompt", prompts.get(i))).getFirst();
      assertThat(together.get(i).get("ids")).isEqualTo(alone.get("ids"));
      assertThat(together.get(i).get("text")).isEqualTo(alone.get("text"));
    }
    assertThat(generate("--prompt", "the cat", "--prompt", "the dog", "--max-tokens", "3"))
        .isZero();
    assertThat(out.toString()).startsWith("==> prompt 1 <==\n").contains("\n==> prompt 2 <==\n");
  }

  private static String[] concat(String[] first, String... second) {
    List<String> all = new ArrayList<>(List.of(first));
    all.addAll(List.of(second));
    return all.toArray(String[]::new);
  }

  @Test
  void generate_standardInput_isReadLineByLine() throws IOException {
    InputStream standard = System.in;
    System.setIn(new ByteArrayInputStream("the cat\nthe dog".getBytes(StandardCharsets.UTF_8)));
    try {
      assertThat(json("--prompt-file", "-", "--max-tokens", "2")).hasSize(2);
    } finally {
      System.setIn(standard);
    }
  }

  @Test
  void generate_stopText_endsBeforeIt() throws IOException {
    String[] options = {
      "--prompt", "the cat", "--temperature", "1", "--seed", "8", "--max-tokens", "40"
    };
    String text = json(options).getFirst().get("text").asText();
    String stop = text.substring(7, 10);

    JsonNode stopped = json(concat(options, "--stop", stop)).getFirst();

    assertThat(stopped.get("text").asText()).isEqualTo(text.substring(0, text.indexOf(stop)));
    assertThat(stopped.get("finish_reason").asText()).isEqualTo("stopped");
  }

  @Test
  void generate_policies_leaveAsTheySay() throws IOException {
    assertThat(heads("--policy", "full")).containsOnly("final");
    assertThat(heads("--policy", "fixed", "--exits", "2")).containsOnly("exit_2");
    assertThat(heads("--policy", "margin", "--threshold", "0")).containsOnly("exit_1");
    assertThat(heads("--policy", "entropy", "--threshold", "99")).containsOnly("exit_1");
    assertThat(heads("--policy", "patience", "--patience", "1")).containsOnly("exit_1");
    assertThat(heads("--threshold", "1=2,2=0,4=2")).containsOnly("exit_2");
  }

  @Test
  void generate_modes_giveTheTextsTheyPromise() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "20"};
    JsonNode full = json(concat(options, "--mode", "full")).getFirst();
    JsonNode drafted = json(concat(options, "--mode", "speculative")).getFirst();
    JsonNode fixed =
        json(concat(
                options,
                "--mode",
                "speculative",
                "--draft-exit",
                "4",
                "--draft-length",
                "3",
                "--draft-confidence",
                "0"))
            .getFirst();
    JsonNode early = json(concat(options, "--threshold", "0.3")).getFirst();
    JsonNode anew = json(concat(options, "--threshold", "0.3", "--mode", "recompute")).getFirst();

    assertThat(drafted.get("ids")).isEqualTo(full.get("ids"));
    assertThat(fixed.get("ids")).isEqualTo(full.get("ids"));
    assertThat(fixed.get("drafted_tokens").asInt()).isPositive();
    assertThat(anew.get("ids")).isEqualTo(early.get("ids"));
    assertThat(anew.get("heads")).isEqualTo(early.get("heads"));
    assertThat(full.get("drafted_tokens").asInt()).isZero();

    assertThat(generate(concat(options, "--mode", "speculative", "--draft-confidence", "0")))
        .isZero();
    assertThat(err.toString()).containsPattern("; \\d+ of \\d+ drafts held, \\d+ %\n");
  }

  @Test
  void generate_alternatives_areToldInJson() throws IOException {
    JsonNode result =
        json("--prompt", "the cat", "--max-tokens", "3", "--alternatives", "2").getFirst();

    assertThat(result.get("log_probabilities")).hasSize(result.get("ids").size());
    assertThat(result.get("alternatives").get(0)).hasSize(2);
    assertThat(result.get("alternatives").get(0).get(0).get("id"))
        .isEqualTo(result.get("ids").get(0));
    assertThat(json("--prompt", "the cat", "--max-tokens", "3").getFirst().has("alternatives"))
        .isFalse();
  }

  @Test
  void generate_beams_areTheBestText() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "12"};
    JsonNode one = json(concat(options, "--beams", "1")).getFirst();
    JsonNode full = json(concat(options, "--mode", "full")).getFirst();

    assertThat(one.get("ids")).isEqualTo(full.get("ids"));
    assertThat(generate(concat(options, "--beams", "4", "--length-penalty", "0.8"))).isZero();
    assertThat(out.toString()).isNotBlank();
  }

  @Test
  void generate_calibration_replacesPolicyExitsAndThresholds() throws IOException {
    Path file = folder.resolve("thresholds.json");
    Files.writeString(file, "{\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0}}");

    assertThat(heads("--calibration", file.toString())).containsOnly("exit_2");
    assertThat(generate("--prompt", "a", "--calibration", file.toString(), "--threshold", "0.5"))
        .isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --threshold has no effect with --calibration, whose file says it; leave it"
                + " out\n");
    assertThat(generate("--prompt", "a", "--calibration", folder.resolve("absent").toString()))
        .isEqualTo(1);
    assertThat(err.toString()).contains("absent: no such file or folder");
  }

  @Test
  void generate_furtherSampling_changesTheText() throws IOException {
    String[] options = {"--prompt", "the cat", "--max-tokens", "8", "--mode", "full"};
    JsonNode plain = json(options).getFirst();
    String best = plain.get("ids").get(0).asText();

    JsonNode banned = json(concat(options, "--logit-bias", best + "=-1000,3=0.5")).getFirst();
    assertThat(strings(banned.get("ids"))).doesNotContain(best);
    JsonNode varied = json(concat(options, "--presence-penalty", "1000")).getFirst();
    assertThat(strings(varied.get("ids"))).doesNotHaveDuplicates();
    JsonNode sure = json(concat(options, "--temperature", "3", "--min-p", "1")).getFirst();
    assertThat(sure.get("ids")).isEqualTo(plain.get("ids"));
  }

  private List<String> heads(String... args) throws IOException {
    return strings(
        json(concat(args, "--prompt", "the cat", "--max-tokens", "6")).getFirst().get("heads"));
  }

  @Test
  void generate_modelWithoutExits_usesTheWholeModel() {
    assertThat(generateFrom("without-exits", "--prompt", "the cat", "--max-tokens", "5")).isZero();
    assertThat(err.toString()).contains("left at final head 100 %; mean layer 5.0 of 5");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "--exits 3 | --exits: there is no exit after layer 3; this model has exits after layer 1,"
            + " layer 2, layer 4",
        "--policy fixed | --policy: fixed needs one exit; name it with --exits, one of layer 1,"
            + " layer 2, layer 4",
        "--policy full --threshold 0.5 | --threshold has no effect with the policy full; leave it"
            + " out",
        "--policy full --max-pending 3 | --max-pending has no effect with the policy full; leave"
            + " it out",
        "--patience 3 | --patience has no effect with the policy max-probability; leave it out",
        "--threshold high | --threshold: 'high' is no number or list of them; write 0.9, or"
            + " 2=0.8,4=0.9",
        "--threshold 2=0.8 | --threshold: none for the exits after layer 1, layer 4; give a"
            + " threshold for each of layer 1, layer 2, layer 4",
        "--exits 2 --threshold 2=0.8,4=1 | --threshold: layer 4 has no exit in use; give a"
            + " threshold for each of layer 2",
        "--threshold 2=0.8,x=1 | --threshold: '2=0.8,x=1' is no number or list of them; write 0.9,"
            + " or 2=0.8,4=0.9",
        "--temperature -1 | --temperature: -1.0 is negative; use 0 for the best token always, or"
            + " more",
        "--threshold -0.5 | --threshold: -0.5 is no threshold; use 0 or more",
        "--threshold 1=0.5,2=-1,4=0 | --threshold: -1.0 is no threshold; use 0 or more",
        "--max-pending 0 | --max-pending: 0 is below 1; use 1 or more",
        "--batch-size 0 | --batch-size: 0 is below 1; use 1 or more",
        "--mode full --exits 2 | --exits has no effect in the mode full; leave it out",
        "--mode speculative --threshold 0.5 | --threshold has no effect in the mode speculative;"
            + " leave it out",
        "--threshold 0.5 --draft-length 3 | --draft-length has no effect in the mode early-exit;"
            + " leave it out",
        "--mode full --draft-source text | --draft-source has no effect in the mode full; leave it"
            + " out",
        "--draft-source text --draft-exit 2 | --draft-source has no effect where an exit drafts at"
            + " fixed length; leave it out",
        "--mode speculative --draft-exit 3 | --draft-exit: there is no exit after layer 3; this"
            + " model has exits after layer 1, layer 2, layer 4",
        "--mode speculative --draft-length 0 | --draft-length: 0 is not a whole number in 1..64",
        "--mode speculative --draft-length 65 | --draft-length: 65 is not a whole number in 1..64",
        "--mode speculative --draft-confidence 1.5 | --draft-confidence: 1.5 is outside [0, 1]; use"
            + " a probability",
        "--policy patience --patience 0 | --patience: 0 is below 1; use 1 or more exits",
        "--threshold-decay -1 | --threshold-decay: -1.0 is negative; use 0 or more; CALM takes 4",
        "--max-tokens 0 | --max-tokens: 0 is below 1; use 1 or more",
        "--json --alternatives -1 | --alternatives: -1 is negative; use 0 for none",
        "--beams 0 | --beams: 0 is below 1; use 1 or more",
        "--beams 2 --length-penalty NaN | --length-penalty: NaN is no finite number; use 1",
        "--repetition-penalty 0 | --repetition-penalty: 0.0 is not positive; 1 is none",
        "--presence-penalty NaN | --presence-penalty: NaN is no finite number; 0 is none",
        "--top-k -1 | --top-k: -1 is negative; use 0 for no limit",
        "--top-p 2 | --top-p: 2.0 is outside (0, 1]; 1 is no limit",
        "--logit-bias -1=3 | --logit-bias: -1 is no token id; use 0 or more",
        "--stop= | --stop: is empty; give the text at which to stop",
        "--policy entropy --threshold-decay 4 | --threshold-decay has no effect with the policy"
            + " entropy; leave it out",
        "--beams 2 --temperature 1 | --temperature has no effect with --beams, which searches in"
            + " the full model; leave it out",
        "--beams 2 --seed 3 | --seed has no effect with --beams, which searches in the full model;"
            + " leave it out",
        "--beams 2 --threshold 0.5 | --threshold has no effect with --beams, which searches in"
            + " the full model; leave it out",
        "--length-penalty 2 | --length-penalty has no effect without --beams; leave it out",
        "--min-p 2 | --min-p: 2.0 is outside [0, 1]; 0 is no limit",
        "--threads 0 | --threads: 0 is outside 1..1024; use as many as there are cores, or fewer",
        "--threads 100000 | --threads: 100000 is outside 1..1024; use as many as there are cores,"
            + " or fewer",
      })
  void generate_optionThatCannotBeHonoured_isWrongUse(String options, String message) {
    assertThat(generate(concat(options.split(" "), "--prompt", "the cat"))).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
    assertThat(out.toString()).isEmpty();
  }

  @Test
  void generate_calibrationOfAnotherModelsExits_isRefusedByItsOption() throws IOException {
    Path file = folder.resolve("other.json");
    Files.writeString(file, "{\"policy\": \"margin\", \"thresholds\": {\"2\": 0.5, \"3\": 0.5}}");

    assertThat(generate("--prompt", "the cat", "--calibration", file.toString())).isEqualTo(2);

    assertThat(err.toString())
        .isEqualTo(
            "eellm: --calibration: there is no exit after layer 3; this model has exits after layer"
                + " 1, layer 2, layer 4\n");
  }

  @Test
  void generate_draftAtTheLastLayer_isRefusedByItsOption() throws IOException {
    try (Decoder model =
        SmallModel.of(new ExitLayout(List.of(5), true, false, false, false), DataType.FLOAT32)) {
      SmallModelFolder.write(folder.resolve("last"), model);
    }

    assertThat(generateFrom("last", "--prompt", "the cat", "--draft-exit", "5")).isEqualTo(2);

    assertThat(err.toString()).startsWith("eellm: --draft-exit: layer 5 is the model's last");
  }

  @Test
  void generate_quantized_goesOnFromTheSameModelInFewerBits() throws IOException {
    String[] text = {"--prompt", "the cat", "--max-tokens", "20", "--mode", "full"};
    String exact = json(text).getFirst().get("text").asText();

    for (String type : List.of("int8", "int4")) {
      JsonNode quantized = json(concat(text, "--quantize", type)).getFirst();
      assertThat(quantized.get("ids").size()).isEqualTo(20);
    }
    assertThat(json(concat(text, "--quantize-heads", "int8")).getFirst().get("ids").size())
        .isEqualTo(20);
    assertThat(json(concat(text, "--quantize", "none")).getFirst().get("text").asText())
        .isEqualTo(exact);
  }

  @Test
  void generate_unknownQuantization_isRefused() {
    assertThat(generate("--prompt", "a", "--quantize", "int3")).isEqualTo(2);
    assertThat(err.toString()).contains("--quantize").contains("[NONE, INT8, INT4]");
  }

  @ParameterizedTest
  @CsvSource({
    "int4, int8, '--quantize int4: GPUs multiply with 8 bits at least'",
    "int8, none, '--quantize-heads none: on GPUs all matrices are rounded alike'"
  })
  void generate_quantizationThatGpusLack_isRefused(String layers, String heads, String message) {
    int code =
        generate(
            "--prompt", "a", "--device", "cuda", "--quantize", layers, "--quantize-heads", heads);
    assertThat(err.toString()).contains(message);
    assertThat(code).isEqualTo(2);
  }

  @Test
  void generate_stats_followTheText() {
    String[] options = {"--prompt", "the cat", "--max-tokens", "12", "--threshold", "0.5"};
    assertThat(generate(options)).isZero();
    String text = out.toString();

    assertThat(generate(concat(options, "--stats"))).isZero();

    assertThat(out.toString()).isEqualTo(text);
    assertThat(err.toString())
        .contains("; left at ")
        .containsPattern(
            "\n\\d+ tokens in [\\d.]+ s, [\\d.]+ tokens/s; the first after [\\d.]+ ms\n")
        .containsPattern("\n[\\d.]+ rows pass a layer at once, on average\n")
        .containsPattern("\n[\\d.]+ MB of weights a token, \\d+ % of the rate")
        .containsPattern("\nattention +[\\d.]+ +[\\d.]+\n")
        .containsPattern("\npolicies and sampling +[\\d.]+ +[\\d.]+\n")
        .containsPattern("\nrest +[\\d.]+ +[\\d.]+\n");
  }

  @Test
  void generate_statsAsJson_areALastLineOfAllPrompts() throws IOException {
    List<JsonNode> lines =
        json("--prompt", "the cat", "--prompt", "the dog", "--max-tokens", "12", "--stats");

    assertThat(lines).hasSize(3);
    int tokens = lines.get(0).get("ids").size() + lines.get(1).get("ids").size();
    JsonNode stats = lines.get(2).path("stats");
    assertThat(stats.path("tokens").asInt()).isEqualTo(tokens);
    for (String figure :
        List.of(
            "seconds",
            "tokens_per_second",
            "first_token_seconds",
            "weight_bytes",
            "read_bytes_per_second",
            "share_of_read_rate")) {
      assertThat(stats.path(figure).asDouble()).as(figure).isPositive();
    }
    assertThat(stats.path("rows_per_pass").asDouble()).isGreaterThan(1);
    double shares = 0;
    double microseconds = 0;
    for (JsonNode part : stats.path("parts")) {
      shares += part.path("share").asDouble();
      microseconds += part.path("microseconds").asDouble();
    }
    assertThat(shares).isCloseTo(1, within(1e-6));
    assertThat(microseconds * tokens / 1e6)
        .isCloseTo(stats.path("seconds").asDouble(), within(1e-6));
  }

  @Test
  void generate_statsWhereNoneAreKept_areRefused() {
    assertThat(generate("--prompt", "a", "--stats", "--beams", "2")).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: --stats has no effect with --beams");
    assertThat(generate("--prompt", "a", "--stats", "--pp", "2", "--nproc", "2")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --stats: tells of one process, and --pp 2 has a part of the layers on each of"
                + " its ranks; leave it or --pp out\n");
  }

  @Test
  void generate_exitOptionsWithoutExits_areRefused() {
    assertThat(generateFrom("without-exits", "--prompt", "a", "--threshold", "0.5")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --threshold has no effect with the policy full, which a model without exits"
                + " has; leave it out\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--mode", "recompute")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --mode: recompute needs exits, and this model has none; use full\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--draft-source", "exits"))
        .isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --draft-source: this model has no exits; use text\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--draft-length", "3")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --draft-exit: there is no exit after layer 1; this model has none at all, use"
                + " full\n");
    assertThat(generateFrom("without-exits", "--prompt", "a", "--policy", "margin")).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo("eellm: --policy: margin needs exits, and this model has none; use full\n");
  }

  @Test
  void generate_noPrompt_isWrongUse() {
    assertThat(generate()).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: there is no prompt; give --prompt TEXT or --prompt-file FILE\n");
  }

  @Test
  void generate_badPrompts_areNamedWithARemedy() throws IOException {
    assertThat(generate("--prompt", "the cat", "--prompt", "")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: prompt 2 is empty; give it at least one character\n");

    assertThat(generate("--prompt", "x".repeat(SmallModel.CONTEXT))).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: prompt 1 has 96 tokens, but the model's context is 96; shorten it to 95 or"
                + " less\n");

    assertThat(generate("--prompt", "x".repeat(90), "--max-tokens", "7")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: prompt 1 has 90 tokens and up to 7 are to follow, but the model's context is"
                + " 96; let 6 or fewer follow, or shorten the prompt\n");

    Path file = folder.resolve("latin1.txt");
    Files.write(file, new byte[] {'a', (byte) 0xe9, '\n'});
    assertThat(generate("--prompt-file", file.toString())).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: " + file + " is not UTF-8; convert it, for example with iconv\n");

    Files.writeString(file, "\n\n");
    assertThat(generate("--prompt-file", file.toString())).isEqualTo(1);
    assertThat(err.toString()).isEqualTo("eellm: " + file + " has no prompt; write one a line\n");

    assertThat(generate("--prompt-file", folder.resolve("absent").toString())).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo("eellm: " + folder.resolve("absent") + ": no such file or folder\n");
  }

  @Test
  void generate_tokenizerOfAnotherModel_isRefused() throws IOException {
    Path other = folder.resolve("other");
    Path corpus = folder.resolve("long.txt");
    Files.writeString(
        corpus, "a few more words, a few more pairs, words and pairs and pairs of words\n");
    Tokenizer large =
        BpeTrainer.train(
            TextCorpus.of(List.of(corpus.toString()), TextCorpus.Format.DEFAULT),
            270,
            1,
            Progress.NONE);
    try (Decoder model = SmallModel.plain()) {
      SmallModelFolder.write(other, model, large);
    }
    assertThat(generateFrom("other", "--prompt", "a")).isEqualTo(1);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: "
                + other
                + ": the tokenizer has 270 tokens, but the model's vocabulary 264; put the"
                + " tokenizer there that the model was trained with\n");
  }

  @Test
  void generate_noModel_isNamed() {
    assertThat(generateFrom("absent", "--prompt", "a")).isEqualTo(1);
    assertThat(err.toString()).contains("absent: no such folder");
  }

  @Test
  void generate_onRanksOfTheirOwnProcesses_printsWhatOneProcessDoes() throws IOException {
    String[] options = {
      "--prompt", "the cat", "--prompt", "the dog and", "--max-tokens", "12", "--threshold", "0.15"
    };
    List<JsonNode> alone = json(options);

    List<String> onRanks = new ArrayList<>(List.of(options));
    onRanks.addAll(List.of("--nproc", "2", "--pp", "2", "--threads", "1"));
    List<JsonNode> results = json(onRanks.toArray(String[]::new));

    assertThat(results).hasSize(2);
    for (int i = 0; i < 2; i++) {
      for (String key : List.of("text", "ids", "exits", "heads", "finish_reason")) {
        assertThat(results.get(i).get(key)).as(key).isEqualTo(alone.get(i).get(key));
      }
    }
  }

  @Test
  void generate_stagesThatFail_sayWhich() {
    assertThat(generate("--prompt", "the cat", "--nproc", "2", "--pp", "2", "--mode", "recompute"))
        .isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .contains("eellm: --mode: several pipeline stages", "use early-exit or full");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--nproc 3 --pp 2 | --nproc: 3 ranks for --tp 1 x --pp 2; start 2",
        "--pp 0 | --pp: 0 is below 1; use 1 or more",
        "--tp 0 | --tp: 0 is below 1; use 1 or more",
        "--timeout 5 | --timeout has no effect on a single rank; leave it out, or give --tp or"
            + " --pp",
        "--nproc 2 --pp 2 --timeout 0 | --timeout: 0 is below 1; use 1 or more",
        "--nproc 2 --pp 2 --device cuda | --pp: the stages of a pipeline compute on CPUs; use"
            + " --device cpu, or --tp alone",
        "--nproc 2 --pp 2 --beams 2 | --tp, --pp or --nproc has no effect with --beams, which"
            + " searches in the full model; leave it out",
        "--nproc 2 --pp 2 --prompt-file - | --prompt-file -: ranks that --nproc starts have no"
            + " standard input; give a file"
      })
  void generate_ranksThatCannotBe_isWrongUse(String options, String message) {
    List<String> words = new ArrayList<>(List.of("--prompt", "the cat"));
    words.addAll(List.of(options.split(" ")));

    assertThat(generate(words.toArray(String[]::new))).isEqualTo(2);
    assertThat(err.toString()).isEqualTo("eellm: " + message + "\n");
  }

  @Test
  void generate_severalRanksWithoutALauncher_saysHowToStartThem() {
    assertThat(generate("--prompt", "the cat", "--pp", "2")).isEqualTo(1);
    assertThat(err.toString()).contains("add --nproc 2");
  }
}
