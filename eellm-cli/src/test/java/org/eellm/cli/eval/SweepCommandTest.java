package org.eellm.cli.eval;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import javax.imageio.ImageIO;
import org.eellm.cli.Commands;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.eval.sweep.ComparedMethod;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class SweepCommandTest {
  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();
  private String model = "model";

  @BeforeEach
  void writeModel() throws IOException {
    try (Decoder decoder = SmallModel.plain()) {
      SmallModelFolder.write(folder.resolve("model"), decoder);
    }
    Files.write(folder.resolve("prompts.txt"), List.of("the cat and", "the bird and the"));
  }

  private int sweep(String... more) {
    return sweepOf(prompted(List.of(more)));
  }

  private List<String> prompted(List<String> more) {
    List<String> args = new ArrayList<>();
    args.addAll(List.of("--prompts", folder.resolve("prompts.txt").toString()));
    args.addAll(List.of("--max-tokens", "6"));
    args.addAll(more);
    return args;
  }

  private int sweepOf(List<String> more) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    return Commands.run(out, err, arguments(more).toArray(String[]::new));
  }

  private List<String> arguments(List<String> more) {
    List<String> args = new ArrayList<>();
    args.addAll(List.of("sweep", "--model", folder.resolve(model).toString()));
    args.addAll(List.of("--output", folder.resolve("sweep").toString()));
    args.addAll(List.of("--rounds", "1"));
    args.addAll(more);
    return args;
  }

  private JsonNode report() throws IOException {
    return new ObjectMapper().readTree(folder.resolve("sweep/sweep.json").toFile());
  }

  @Test
  void limit_twoPrompts_takesTheFirst() throws IOException {
    assertThat(sweep("--limit=1", "--thresholds=0.5")).as(err::toString).isZero();

    assertThat(report().path("sweep").path("prompts").asInt()).isEqualTo(1);
  }

  @Test
  void sweep_ofAllModes_measuresEachSetting() throws IOException {
    int code =
        sweep(
            "--thresholds",
            "1.0:0.0:0.5",
            "--draft-exits",
            "2",
            "--draft-lengths",
            "3",
            "--draft-margins",
            "0",
            "--min-agreement",
            "1",
            "--min-speedup",
            "0.001");

    assertThat(code).as(err::toString).isZero();
    List<JsonNode> rows = new ArrayList<>();
    report().path("sweep").path("rows").forEach(rows::add);
    assertThat(rows)
        .extracting(row -> row.path("setting").path("mode").asText())
        .containsExactly(
            "early_exit",
            "early_exit",
            "early_exit",
            "recompute",
            "recompute",
            "recompute",
            "speculative", // adaptive
            "speculative");
    JsonNode never = rows.getFirst();
    assertThat(never.path("agreement").asDouble()).isEqualTo(1);
    assertThat(never.path("mean_layer").asDouble()).isEqualTo(5);
    assertThat(never.path("own").path("same").asDouble()).isEqualTo(1);
    assertThat(never.path("own").path("perplexity").asDouble())
        .isCloseTo(report().path("sweep").path("full_perplexity").asDouble(), within(1e-3));
    assertThat(rows.get(2).path("shares").path("exit_1").asDouble()).isEqualTo(1);
    assertThat(rows.get(5).path("agreement").asDouble())
        .as("recomputation gives the same tokens")
        .isEqualTo(rows.get(2).path("agreement").asDouble());
    JsonNode drafted = rows.getLast();
    assertThat(drafted.path("agreement").asDouble()).isEqualTo(1);
    assertThat(drafted.path("acceptance").isNumber()).isTrue();
    assertThat(drafted.path("acceptance").asDouble()).isBetween(0.0, 1.0);

    List<String> table = Files.readAllLines(folder.resolve("sweep/sweep.md")).subList(0, 10);
    assertThat(table.get(2)).startsWith("|  | full model |");
    assertThat(table)
        .extracting(line -> line.chars().filter(c -> c == '|').count())
        .as("cells of each line")
        .containsOnly(15L);
    if (report().path("sweep").path("trusted").asBoolean()) {
      assertThat(ImageIO.read(folder.resolve("sweep/sweep.png").toFile()).getWidth())
          .isEqualTo(1000);
      assertThat(out.toString())
          .contains("agreement of at least 1.0: --mode ", "speed-up of at least 0.001: --mode ");
      assertThat(report().path("picks")).hasSize(2);
    } else {
      assertThat(out.toString()).contains("No speed-ups: the machine was busy.");
      assertThat(folder.resolve("sweep/sweep.png")).doesNotExist();
    }
  }

  @Tag("slow")
  @Test
  void sweep_onTwoRanks_agreesAsOnOne() throws IOException {
    List<String> alone =
        List.of(
            "--thresholds=1.0:0.0:0.5",
            "--draft-exits=1",
            "--draft-lengths=3",
            "--draft-margins=0.2");
    assertThat(sweep(alone.toArray(String[]::new))).as(err::toString).isZero();
    JsonNode expected = report().path("sweep").path("rows");
    Files.delete(folder.resolve("sweep/rows.jsonl"));
    Files.delete(folder.resolve("sweep/sweep.json"));
    List<String> shared = new ArrayList<>(alone);
    shared.addAll(List.of("--tp", "2", "--nproc", "2", "--threads", "1"));

    Outcome outcome = Commands.runAsProcess(folder, arguments(prompted(shared)));

    assertThat(outcome.code()).as(outcome.err()).isZero();

    JsonNode rows = report().path("sweep").path("rows");
    assertThat(rows).hasSameSizeAs(expected);
    for (int i = 0; i < rows.size(); i++) {
      assertThat(rows.get(i).path("setting")).isEqualTo(expected.get(i).path("setting"));
      assertThat(rows.get(i).path("agreement").asDouble())
          .isCloseTo(expected.get(i).path("agreement").asDouble(), within(0.02));
      assertThat(rows.get(i).path("mean_layer").asDouble())
          .isCloseTo(expected.get(i).path("mean_layer").asDouble(), within(0.05));
    }
  }

  /** Rows as of a quiet machine: those of a busy one are timed again. */
  private static List<String> quiet(Path rows) throws IOException {
    String even = "\"control\":{\"speed_up\":1.0,\"spread\":{\"least\":1.0,\"most\":1.0}";
    Files.writeString(
        rows,
        Files.readString(rows)
            .replaceAll("\"control\":\\{\"speed_up\":[^,]+,\"spread\":\\{[^}]*}", even));
    return Files.readAllLines(rows);
  }

  @Test
  void sweep_thatWasStopped_goesOnWhereItWas() throws IOException {
    String[] options = {"--modes", "early-exit", "--thresholds", "1.0:0.0:0.05"};
    assertThat(sweep(options)).as(err::toString).isZero();
    Path file = folder.resolve("sweep/rows.jsonl");
    List<String> lines = quiet(file);
    assertThat(lines).hasSize(22);
    assertThat(new ObjectMapper().readTree(lines.getFirst()).fieldNames())
        .as("in an order that another run has too")
        .toIterable()
        .containsExactly("about", "max_tokens", "rounds", "settings", "texts");
    Files.write(file, lines.subList(0, 11));

    assertThat(sweep(options)).as(err::toString).isZero();
    assertThat(Files.readAllLines(file)).startsWith(lines.subList(0, 11).toArray(String[]::new));
    assertThat(Files.readAllLines(file)).hasSize(22);
    assertThat(report().path("sweep").path("rows")).hasSize(21);
    assertThat(err.toString().lines())
        .as("a line for each setting that was left, since this is no terminal")
        .hasSize(11)
        .allMatch(line -> line.matches("threshold [\\d.]+: speed-up .* of 21 settings left.*"));

    assertThat(sweep("--modes", "early-exit", "--thresholds", "0.5")).isEqualTo(2);
    assertThat(err.toString()).contains("rows.jsonl: has outcomes of another");
  }

  @Test
  void sweep_ofOtherPolicies_namesTheOptionsOfEach() throws IOException {
    int code =
        sweep(
            "--modes",
            "early-exit",
            "--policies",
            "margin,entropy,patience,fixed",
            "--thresholds",
            "0.3",
            "--patience",
            "1",
            "--exits",
            "1",
            "--exits",
            "4");

    assertThat(code).as(err::toString).isZero();
    assertThat(report().path("sweep").path("rows")).hasSize(8);
    assertThat(folder.resolve("sweep/sweep.md"))
        .content()
        .contains("margin, exits 1: 0.3", "fixed exit 4 ");
  }

  @Test
  void sweep_withATask_scoresEverySetting() throws IOException {
    Path data = Files.createDirectories(folder.resolve("data"));
    Files.write(data.resolve("ends.csv"), List.of("start,end", "the cat and,the end"));
    Path task = folder.resolve("ends.yaml");
    Files.writeString(
        task,
        """
        task: ends
        output_type: generate_until
        files: ["ends.csv"]
        doc_to_text: "{{ start }}"
        doc_to_target: "{{ end }}"
        max_gen_toks: 4
        metrics: [f1]
        """);

    int code =
        sweep(
            "--modes",
            "early-exit",
            "--thresholds",
            "1.0,0.0",
            "--tasks",
            task.toString(),
            "--data",
            data.toString());

    assertThat(code).as(err::toString).isZero();
    JsonNode sweep = report().path("sweep");
    JsonNode score = sweep.path("rows").path(0).path("scores").path("ends f1");
    assertThat(score.path("value").isNumber()).isTrue();
    assertThat(score).isEqualTo(sweep.path("full_scores").path("ends f1"));
    assertThat(out.toString()).doesNotContain("NaN");

    assertThat(sweep("--modes", "early-exit", "--thresholds", "1.0,0.0"))
        .as("rows with scores are another sweep's")
        .isEqualTo(2);
    assertThat(err.toString()).contains("rows.jsonl: has outcomes of another");
  }

  @Test
  void sweep_withATaskOfLikelihoods_scoresTheHeadsAtWhichTokensLeave() throws IOException {
    Path data = Files.createDirectories(folder.resolve("data"));
    Files.write(
        data.resolve("ends.csv"),
        List.of("start,end", "the cat and,the end", "the bird,and a cat"));
    Path task = folder.resolve("ends.yaml");
    Files.writeString(
        task,
        """
        task: ends
        output_type: loglikelihood
        files: ["ends.csv"]
        doc_to_text: "{{ start }}"
        doc_to_target: " {{ end }}"
        metrics: [perplexity, acc]
        """);
    List<String> both = List.of("--tasks", task.toString(), "--data", data.toString());
    List<String> eval = new ArrayList<>(both);
    eval.addAll(0, List.of("eval", "--model", folder.resolve("model").toString()));
    eval.addAll(List.of("--output", folder.resolve("eval").toString()));
    assertThat(Commands.run(out, err, eval.toArray(String[]::new))).as(err::toString).isZero();
    JsonNode byHead =
        new ObjectMapper()
            .readTree(folder.resolve("eval/results.json").toFile())
            .at("/results/ends");

    List<String> options = new ArrayList<>(both);
    options.addAll(List.of("--modes", "early-exit", "--thresholds", "1.0,0.5,0.0"));
    assertThat(sweep(options.toArray(String[]::new))).as(err::toString).isZero();
    JsonNode sweep = report().path("sweep");
    double full = Math.log(byHead.path("perplexity,none").asDouble());
    assertThat(logPerplexity(sweep.path("full_scores"))).isCloseTo(full, within(1e-9));
    assertThat(logPerplexity(sweep.at("/rows/0/scores"))).isCloseTo(full, within(1e-9));
    assertThat(logPerplexity(sweep.at("/rows/2/scores")))
        .as("all leave at the first exit")
        .isCloseTo(Math.log(byHead.path("perplexity,exit_1").asDouble()), within(1e-9))
        .isNotCloseTo(full, within(1e-3));
  }

  private static double logPerplexity(JsonNode scores) {
    return Math.log(scores.at("/ends perplexity/value").asDouble());
  }

  @Test
  void sweep_ofCode_scoresHowMethodsGoOn() throws IOException {
    Path jar = SourcesJar.write(folder.resolve("some-sources.jar"), 2, true);

    int code =
        sweepOf(
            List.of(
                "--code=" + jar,
                "--max-tokens=60",
                "--thresholds=1.0,0.0",
                "--modes=early-exit,speculative",
                "--draft-exits=1",
                "--draft-lengths=2",
                "--draft-margins=0"));

    assertThat(code).as(err::toString).isZero();
    JsonNode sweep = report().path("sweep");
    assertThat(sweep.path("prompts").asInt()).isEqualTo(2);
    JsonNode full = sweep.path("full_scores");
    assertThat(full.fieldNames())
        .toIterable()
        .containsExactly(
            "next line exact",
            "next line similarity",
            "method similarity",
            "methods that parse",
            "perplexity of the file");
    assertThat(full.path("methods that parse").path("value").asDouble()).isZero();
    double perplexity = full.path("perplexity of the file").path("value").asDouble();
    assertThat(perplexity).isGreaterThan(50); // nothing is known of this text
    JsonNode rows = sweep.path("rows");
    assertThat(rows.path(0).path("scores")).as("no token leaves").isEqualTo(full);
    assertThat(rows.path(1).path("scores").path("perplexity of the file").path("value").asDouble())
        .as("another head's")
        .isGreaterThan(1)
        .isNotCloseTo(perplexity, within(1e-3));
    assertThat(rows.path(2).path("scores")).as("adaptive drafts").isEqualTo(full);
    assertThat(rows.path(3).path("scores")).as("drafts").isEqualTo(full);
    Path picture = folder.resolve("sweep/sweep-next-line-similarity.png");
    assertThat(Files.exists(picture)).isEqualTo(sweep.path("trusted").asBoolean());
  }

  private static final List<String> EVERY = List.of("--methods=all", "--min-agreement=0.5");

  private List<JsonNode> methods() throws IOException {
    List<JsonNode> all = new ArrayList<>();
    report().path("methods").forEach(all::add);
    return all;
  }

  private List<String> notes() throws IOException {
    return methods().stream()
        .filter(method -> !method.path("note").asText().isEmpty())
        .map(method -> method.path("name").asText())
        .toList();
  }

  @Test
  void sweep_ofMethods_measuresThoseThatTheModelHasAndNamesWhatOthersNeed() throws IOException {
    assertThat(sweep(EVERY.toArray(String[]::new))).as(err::toString).isZero();

    assertThat(notes()).containsExactly("gates", "pair-table", "draft-head");
    assertThat(folder.resolve("sweep/sweep.md"))
        .content()
        .contains("- draft-head ([2401.15077](https", ": skipped: ", "eellm add-draft-head");
    List<JsonNode> rows = new ArrayList<>();
    report().path("sweep").path("rows").forEach(rows::add);
    assertThat(rows).hasSize(ComparedMethod.values().length - 3);
    List<String> csv = Files.readAllLines(folder.resolve("sweep/sweep.csv"));
    assertThat(csv).hasSize(2 + ComparedMethod.values().length);
    for (JsonNode row : rows) {
      if (row.at("/setting/mode").asText().equals("speculative")) {
        assertThat(row.at("/own/same").asDouble()).as(row.toString()).isEqualTo(1);
        assertThat(row.path("tokens_per_pass").asDouble()).isBetween(1.0, 6.0);
      } else {
        assertThat(row.path("tokens_per_pass").asDouble()).isEqualTo(1);
      }
    }
    assertThat(csv.getFirst()).startsWith("name,paper,options,note,speed_up,");
    assertThat(csv.stream().filter(line -> line.startsWith("fixed-exit,")).toList())
        .singleElement()
        .asString()
        .contains(",--mode early-exit --policy fixed --exits 4,,", ",false,");

    Files.delete(folder.resolve("sweep/sweep.csv"));
    List<String> first = quiet(folder.resolve("sweep/rows.jsonl"));
    assertThat(sweep(EVERY.toArray(String[]::new))).as(err::toString).isZero();
    assertThat(Files.readAllLines(folder.resolve("sweep/rows.jsonl"))).isEqualTo(first);
    assertThat(Files.readAllLines(folder.resolve("sweep/sweep.csv")))
        .hasSameSizeAs(csv)
        .startsWith(csv.getFirst());
  }

  @Test
  void sweep_ofSeveralConditions_measuresEachInAFolderAndGoesOnThere() throws IOException {
    String[] options = {
      "--methods=layerskip,token-recycling,max-probability",
      "--min-agreement=0.5",
      "--temperatures=0,0.8",
      "--batch-sizes=1,2",
      "--contexts=12"
    };
    assertThat(sweep(options)).as(err::toString).isZero();

    Path table = folder.resolve("sweep/sweep.csv");
    List<String> csv = Files.readAllLines(table);
    assertThat(csv).hasSize(1 + 4 * (1 + 3));
    assertThat(csv.stream().filter(line -> line.matches("(layerskip|token-recycling),.*")))
        .hasSize(8)
        .as("drafts leave the text as it is")
        .allMatch(line -> line.contains(",true,"));
    // A norm of 32 numbers and a matrix of 264 rows for each of three exits, in float32.
    assertThat(csv.stream().filter(line -> line.startsWith("layerskip,")))
        .anyMatch(line -> line.contains("," + 4 * (32 + 264 * 32) + ",,0.8,2,12"));
    assertThat(csv.stream().filter(line -> line.startsWith("max-probability,")))
        .anyMatch(line -> line.contains("," + 3 * 4 * (32 + 264 * 32) + ",,0.0,1,12"));
    assertThat(csv.stream().filter(line -> line.startsWith("token-recycling,")))
        .allMatch(line -> line.contains("," + 13 * 65536 + ",0.0,"));

    Path rows = folder.resolve("sweep/temperature-0.8-batch-2-context-12/rows.jsonl");
    Path others = folder.resolve("sweep/temperature-0.8-batch-1-context-12/rows.jsonl");
    assertThat(rows.resolveSibling("sweep.md"))
        .content()
        .contains("2 texts at a time, drawn at temperature 0.8, prompts of 12 tokens");
    for (String batch : List.of("0.0-batch-1", "0.0-batch-2", "0.8-batch-1")) {
      quiet(folder.resolve("sweep/temperature-" + batch + "-context-12/rows.jsonl"));
    }
    List<String> measured = quiet(rows);
    Files.writeString(
        rows, String.join("\n", measured.subList(0, 2)) + "\n" + measured.get(2).substring(0, 9));
    String before = Files.readString(others);
    assertThat(sweep(options)).as(err::toString).isZero();
    assertThat(others).content().isEqualTo(before);
    assertThat(Files.readAllLines(rows)).hasSize(4).startsWith(measured.get(0), measured.get(1));

    assertThat(sweep("--methods=layerskip", "--contexts=91")).isEqualTo(2);
    assertThat(err.toString())
        .contains("--contexts: 91 and 6 tokens behind it are beyond the model's 96 positions; use");
  }

  /** The agreement of real early exits on both sides of the threshold. */
  @Test
  void sweep_ofAMethodWithAThreshold_hasTheLaxestThatKeepsEnough() throws IOException {
    assertThat(sweep("--methods=max-probability", "--min-agreement=0.5"))
        .as(err::toString)
        .isZero();
    JsonNode row = report().at("/sweep/rows/0");
    double threshold = row.at("/setting/threshold").asDouble();
    assertThat(row.path("agreement").asDouble()).isGreaterThanOrEqualTo(0.5);
    assertThat(threshold).isPositive();

    Files.delete(folder.resolve("sweep/rows.jsonl"));
    assertThat(
            sweep("--modes=early-exit", "--thresholds=" + Math.round(100 * threshold - 1) / 100.0))
        .as(err::toString)
        .isZero();
    assertThat(report().at("/sweep/rows/0/agreement").asDouble()).isLessThan(0.5);
  }

  @Test
  void sweep_ofMethodsWithoutExits_hasTheDraftsThatNeedNone() throws IOException {
    try (Decoder decoder = SmallModel.of(ExitLayout.none(), DataType.FLOAT32)) {
      model = "bare";
      SmallModelFolder.write(folder.resolve(model), decoder);
    }
    int code = sweep("--methods=max-probability,prompt-lookup,token-recycling");
    assertThat(code).as(err::toString).isZero();
    assertThat(notes()).containsExactly("max-probability");
    assertThat(report().at("/sweep/rows")).hasSize(2);
    assertThat(sweep("--methods=gates")).isEqualTo(1);
    assertThat(err.toString()).contains("--methods: skipped: the model lacks what eellm calibrate");
  }

  @Test
  void sweep_nothingToTimeBehindTheFirstToken_isRefused() {
    List<String> one = List.of("--prompts=" + folder.resolve("prompts.txt"), "--max-tokens=1");
    assertThat(sweepOf(one)).isEqualTo(2);
    assertThat(err.toString())
        .contains("--max-tokens, --rounds: 1, 1; use at least 2 and at least 1");
  }

  @Test
  void sweep_codeThatSaysTooLittleOrTooMuch_isRefused() throws IOException {
    assertThat(sweepOf(List.of())).isEqualTo(2);
    assertThat(err.toString()).contains("--prompts, --code: give prompts");
    assertThat(sweep("--code=x.jar")).isEqualTo(2);
    assertThat(err.toString()).contains("--prompts, --code: give prompts");
    Path jar = SourcesJar.write(folder.resolve("empty-sources.jar"), 1, false);
    assertThat(sweepOf(List.of("--code=" + jar, "--max-tokens=60"))).isEqualTo(1);
    assertThat(err.toString()).contains("the Java sources have no method of 4 lines or more");
    assertThat(sweepOf(List.of("--code=" + jar, "--limit=2000"))).isEqualTo(2);
    assertThat(err.toString()).contains("--limit: 2000 methods with --code; use 1000 or fewer");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--modes=full | --modes: full is what all others are measured beside",
        "--policies=full | --policies: full is what all others are measured beside",
        "--policies=fixed | --policies: fixed needs one exit in each set",
        "--exits=3 | --exits: there is no exit after layer 3",
        "--thresholds=1:0:0 | --thresholds: '1:0:0' is no list of numbers",
        "--thresholds=high | --thresholds: 'high' is no list of numbers",
        "--thresholds=0.5 --policies=patience,fixed --exits=1 | --thresholds has no effect without"
            + " one of",
        "--thresholds=-1 --modes=early-exit | --thresholds: -1.0 is no threshold; use 0 or more",
        "--thresholds=1e999999999:0:1 | --thresholds: '1e999999999:0:1' is no list of numbers",
        "--exits=2-1 | --exits: '2-1' ends before it begins",
        "--min-agreement=7 | --min-agreement: 7.0 is outside [0, 1]; use a number that can be",
        "--min-speedup=NaN | --min-speedup: NaN is outside [0, infinity); use a number that can",
        "--draft-exits=3 | --draft-exits: there is no exit after layer 3",
        "--draft-lengths=65 | --draft-lengths: 65 is not a whole number in 1..64",
        "--draft-margins=2 | --draft-margins: 2.0 is outside [0, 1]",
        "--policies=patience --patience=0 | --patience: 0 is below 1",
        "--tasks=lambda --data=x | task 'lambda' is none of arc_challenge",
        "--patience=2 | --patience has no effect without --policies patience",
        "--tasks=gsm8k | --tasks and --data go together",
        "--limit=0 | --limit: 0 is below 1",
        "--methods=medusa | --methods: 'medusa' is no method; use all, or some of [fixed-exit, ",
        "--methods=all --modes=recompute | --modes has no effect with --methods; leave it out",
        "--methods=all --tp=2 --nproc=2 | --methods: needs a single rank; leave out --tp and --pp",
        "--batch-sizes=2 --tp=2 --nproc=2 | --batch-sizes: needs a single rank; leave out --tp",
        "--batch-sizes=0 | --temperatures, --batch-sizes, --contexts: 0.0, 0, 0; use at least 0, 1",
      })
  void sweep_wrongUse_isRefused(String options, String message) {
    assertThat(sweep(options.split(" "))).isEqualTo(2);
    assertThat(err.toString()).contains(message);
  }
}
