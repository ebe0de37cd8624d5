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
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.cli.Commands;
import org.eellm.cli.Commands.Outcome;
import org.eellm.cli.SmallModelFolder;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class SuitabilityCommandTest {
  private static final List<Integer> SHORT_LIST = IntStream.range(0, 30).boxed().toList();

  /** Before a setting's agreement; a dash where the machine was busy. */
  private static final String SPEED_UP =
      "\n(\\d+\\.\\d\\d \\(\\d+\\.\\d\\d to \\d+\\.\\d\\d\\)|–) +";

  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int run(String... args) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    return Commands.run(out, err, args);
  }

  private Path model(ExitLayout exits) throws IOException {
    Path model = folder.resolve("model");
    try (Decoder decoder = SmallModel.of(exits, DataType.FLOAT32)) {
      SmallModelFolder.write(model, decoder);
    }
    return model;
  }

  /** The copied head at each layer says what an exit says that add-exits has made a copy. */
  @Test
  void suitability_ofAModelWithoutExits_asksTheFinalHeadAtEveryLayer() throws IOException {
    Path model = model(ExitLayout.none());
    Path prompts = folder.resolve("prompts.txt");
    Files.write(prompts, List.of("the cat and", "the bird", "dog and the", "end"));
    int code =
        run(
            "suitability",
            model.toString(),
            "--prompts",
            prompts.toString(),
            "--max-tokens",
            "12",
            "--json");
    assertThat(code).as(err::toString).isZero();
    JsonNode figures = new ObjectMapper().readTree(out.toString()).path("figures");
    List<Double> agreements = new ArrayList<>();
    figures.path("exits").forEach(exit -> agreements.add(exit.path("agreement").asDouble()));
    assertThat(agreements).hasSize(4);
    assertThat(figures.path("trained").asBoolean()).isFalse();
    assertThat(figures.path("mean_depth").asDouble()).isBetween(1.0, 5.0);
    assertThat(figures.path("layers").asInt()).isEqualTo(5);
    List<String> settings = settings(figures);
    assertThat(settings)
        .containsOnlyOnce("{\"mode\":\"speculative\",\"draft_source\":\"text\"}")
        .doesNotContain("{\"mode\":\"speculative\"}"); // the same without exits
    figures.path("findings").forEach(SuitabilityCommandTest::assertWithinItsRange);

    Path copies = folder.resolve("copies");
    assertThat(
            run(
                "add-exits",
                "--exits",
                "all",
                "--model",
                model.toString(),
                "--output",
                copies.toString()))
        .as(err::toString)
        .isZero();
    code =
        run(
            "calibrate",
            "--model",
            copies.toString(),
            "--prompts",
            prompts.toString(),
            "--max-tokens",
            "12",
            "--delta",
            "0.95",
            "--epsilon",
            "0.9",
            "--splits",
            "0",
            "--output",
            folder.resolve("thresholds.json").toString());
    assertThat(code).as(err::toString).isZero();
    List<Double> copied = new ArrayList<>();
    out.toString()
        .lines()
        .filter(line -> line.startsWith("exit "))
        .forEach(line -> copied.add(Double.valueOf(line.replaceAll(".*on (\\S+) %.*", "$1"))));
    assertThat(copied).hasSize(4);
    for (int i = 0; i < copied.size(); i++) {
      assertThat(copied.get(i)).isCloseTo(100 * agreements.get(i), within(0.06));
    }
  }

  private static void assertWithinItsRange(JsonNode finding) {
    assertThat(finding.path("speed_up").asDouble())
        .isPositive()
        .isBetween(finding.at("/spread/least").asDouble(), finding.at("/spread/most").asDouble());
  }

  @Test
  void suitability_ofAModelWithExits_measuresThem() throws IOException {
    Path model = model(new ExitLayout(List.of(2), true, true, false, false));

    assertThat(run("suitability", model.toString(), "--max-tokens", "8"))
        .as(err::toString)
        .isZero();

    assertThat(out.toString())
        .containsPattern("exit  agrees  settled here\n +2 +\\d+\\.\\d % +\\d+\\.\\d %\n")
        .contains("Measured with the model's exits, on ")
        .containsPattern(SPEED_UP + "100\\.0 %  --mode speculative --draft-source text\n")
        .containsPattern(SPEED_UP + "100\\.0 %  --mode speculative\n")
        .doesNotContain("--calibration")
        .containsPattern("Worth the bother\\? (yes|maybe|no|unknown): ");
  }

  @Test
  void suitability_withoutExits_measuresWhatTheTextDrafts() throws IOException {
    Path model = model(ExitLayout.none());

    assertThat(run("suitability", model.toString(), "--max-tokens", "8"))
        .as(err::toString)
        .isZero();

    assertThat(out.toString())
        .contains("layer  final head agrees  settled here")
        .containsPattern(SPEED_UP + "100\\.0 %  --mode speculative --draft-source text\n")
        .doesNotContain("--mode speculative\n");
  }

  /** A gate that is sure of everything: all tokens leave at its exit. */
  @Test
  void suitability_calibration_measuresItsGates() throws IOException {
    Path model = model(new ExitLayout(List.of(2), true, true, false, false));
    new DraftVocabulary(SHORT_LIST).write(model);
    Path gates = gates();
    String[] args = {
      "suitability", model.toString(), "--max-tokens", "8", "--calibration", gates.toString()
    };

    assertThat(run(args)).as(err::toString).isZero();
    assertMeasured("gates.json");

    Files.move(gates, model.resolve("calibration.json")); // the model's own
    assertThat(run("suitability", model.toString(), "--max-tokens", "8"))
        .as(err::toString)
        .isZero();
    assertMeasured("calibration.json");
  }

  private void assertMeasured(String file) {
    assertThat(out.toString())
        .containsPattern(
            SPEED_UP + "\\d+\\.\\d %  --mode early-exit --calibration \\S+" + file + "\n");
  }

  @Test
  void suitability_gatesWithoutAShortListOrOnRanks_areRefused() throws IOException {
    Path model = model(new ExitLayout(List.of(2), true, true, false, false));

    assertThat(run("suitability", model.toString(), "--calibration", gates().toString()))
        .isEqualTo(2);
    assertThat(err.toString()).contains("calibration: its gates read a short list of tokens");
    assertThat(
            run("suitability", model.toString(), "--calibration", gates().toString(), "--pp", "2"))
        .isEqualTo(2);
    assertThat(err.toString()).contains("gates.json need the whole model on one rank");
  }

  @Test
  void suitability_calibrationOfOtherExits_isRefused() throws IOException {
    Path model = model(ExitLayout.none());

    assertThat(run("suitability", model.toString(), "--calibration", gates().toString()))
        .isEqualTo(2);
    assertThat(err.toString()).contains("--calibration: there is no exit after layer 2");
  }

  private Path gates() throws IOException {
    Path file = folder.resolve("gates.json");
    SortedMap<Integer, Gate> byLayer = new TreeMap<>(Map.of(2, new Gate(9, 0, 0, new float[32])));
    new Calibration(new Calibration.OfGates(byLayer), new TreeMap<>(Map.of(2, 0.5))).write(file);
    return file;
  }

  private static List<String> settings(JsonNode figures) {
    List<String> settings = new ArrayList<>();
    figures.path("findings").forEach(finding -> settings.add(finding.path("setting").toString()));
    return settings;
  }

  @Tag("slow")
  @Test
  void suitability_onTwoRanks_agreesAsOnOne() throws IOException {
    Path model = model(new ExitLayout(List.of(2), true, true, false, false));
    new DraftVocabulary(SHORT_LIST).write(model);
    Path prompts = folder.resolve("prompts.txt");
    Files.write(prompts, List.of("the cat and", "the bird", "dog and the", "end"));
    String[] alone = {
      "suitability", model.toString(), "--prompts=" + prompts, "--max-tokens=8", "--json"
    };
    assertThat(run(alone)).as(err::toString).isZero();
    JsonNode expected = new ObjectMapper().readTree(out.toString()).path("figures");
    List<String> shared = new ArrayList<>(List.of(alone));
    shared.addAll(List.of("--threads", "1", "--pp", "2", "--nproc", "2"));

    Outcome outcome = Commands.runAsProcess(folder, shared);

    assertThat(outcome.code()).as(outcome.err()).isZero();
    JsonNode found = new ObjectMapper().readTree(outcome.out()).path("figures");
    for (String figure : List.of("exits", "mean_depth", "tokens", "texts", "trained")) {
      assertThat(found.path(figure)).as(figure).isEqualTo(expected.path(figure));
    }
    assertThat(settings(found)).isEqualTo(settings(expected));
    found.path("findings").forEach(SuitabilityCommandTest::assertWithinItsRange);
  }

  @Test
  void suitability_ofCode_writesAfterMethods() throws IOException {
    Path model = model(ExitLayout.none());
    Path jar = SourcesJar.write(folder.resolve("some-sources.jar"), 3, true);
    int code =
        run("suitability", model.toString(), "--code", jar.toString(), "--max-tokens=60", "--json");

    assertThat(code).as(err::toString).isZero();
    assertThat(new ObjectMapper().readTree(out.toString()).at("/figures/exits")).hasSize(4);
  }

  @Test
  void suitability_wrongUse_isRefused() throws IOException {
    Path model = model(ExitLayout.none());

    assertThat(run("suitability", model.toString(), "--max-tokens", "1")).isEqualTo(2);
    assertThat(err.toString()).contains("--max-tokens: 1 is below 2");
    String prompts = folder.resolve("prompts.txt").toString();
    assertThat(run("suitability", model.toString(), "--prompts", prompts, "--seed", "2"))
        .isEqualTo(2);
    assertThat(err.toString()).contains("--seed has no effect with --prompts");
    assertThat(run("suitability", model.toString(), "--limit", "3")).isEqualTo(2);
    assertThat(err.toString()).contains("--limit is for --prompts and --code; leave it out");
    assertThat(run("suitability", folder.resolve("nowhere").toString())).isEqualTo(1);
  }
}
