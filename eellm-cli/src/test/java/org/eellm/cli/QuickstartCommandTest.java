package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.StreamSupport;
import javax.imageio.ImageIO;
import org.eellm.checkpoint.ExamplePrompts;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.decode.LoadedModel;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class QuickstartCommandTest {
  private static final List<String> TINY =
      List.of(
          "--methods=3",
          "--rounds=1",
          "--set=model.hidden_size=32",
          "--set=model.num_layers=3",
          "--set=model.num_heads=2",
          "--set=model.dtype=float32",
          "--set=exits.layers=[1,2]",
          "--set=train.steps=4",
          "--set=train.micro_batch_size=4",
          "--set=train.global_batch_size=4",
          "--set=train.eval_batches=1",
          "--set=optimizer.warmup_steps=1");

  @TempDir private Path folder;
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void quickstart_tinyModel_leavesAllThatItPromises() throws IOException {
    Path output = folder.resolve("quick start");
    assertThat(quickstart(output, TINY)).as(err::toString).isZero();

    assertTable(new ObjectMapper().readTree(output.resolve("quickstart.json").toFile()));
    assertThat(output.resolve("metrics.jsonl")).content().contains("\"validation_loss_exit_2\"");
    assertIsPicture(output.resolve("loss.png"));
    boolean trusted = !out.toString().contains("No speed-ups: the machine was busy.");
    if (trusted) {
      assertIsPicture(output.resolve("tradeoff.png"));
    }
    RunConfig config = ConfigFile.read(output.resolve("config.yaml"), List.of());
    assertThat(config.model().vocabSize()).isEqualTo(4096);
    assertThat(config.train().steps()).isEqualTo(4);

    assertThat(out.toString().lines())
        .anyMatch(line -> line.startsWith("Methods of a library that the model never saw"))
        .anyMatch(line -> line.matches(" +exit 1 +exit 2 +final +tokens/s .*"))
        .anyMatch(line -> line.matches("full model +100 % +([\\d,]+ +1.00|– +–) +100.0 %"))
        .anyMatch(line -> line.matches("threshold 0.9 .*"))
        .anyMatch(line -> line.matches("gate 0.95 .*"))
        .anyMatch(line -> line.contains("1 before them did not count"))
        .anyMatch(line -> line.matches("lossless +.* 100.0 %"));
    try (LoadedModel model = LoadedModel.load(output, Device.CPU)) {
      assertThat(model.vocabulary().draftIds()).hasSize(1024);
      assertThat(ExamplePrompts.read(model.folder()).prompts()).hasSize(3);
    }
    assertNextCommandsParse();

    assertThat(quickstart(output, TINY)).isEqualTo(2);
    assertThat(err.toString())
        .isEqualTo(
            "eellm: --output %s: holds a finished quickstart; remove that folder, or give another one\n"
                .formatted(output));
    assertThat(eellm("generate", "--model", output.toString(), "--prompt", "class A {"))
        .as(err::toString)
        .isZero();

    Files.delete(output.resolve("quickstart.json"));
    List<String> again = new ArrayList<>(TINY);
    again.add("--json");
    assertThat(quickstart(output, again)).as(err::toString).isZero();
    assertThat(err.toString()).contains("training goes on");
    assertThat(out.toString().lines()).hasSize(1);
    assertTable(new ObjectMapper().readTree(out.toString()));
  }

  private static void assertTable(JsonNode report) {
    JsonNode sweep = report.path("sweep");
    assertThat(sweep.path("prompts").asInt()).isEqualTo(3);
    assertThat(sweep.path("tokens").asInt()).isBetween(3, 3 * 128);
    assertThat(sweep.path("warm_up_rounds").asInt()).isEqualTo(1);
    assertThat(sweep.path("full_tokens_per_second").asDouble()).isPositive();
    List<JsonNode> rows = StreamSupport.stream(sweep.path("rows").spliterator(), false).toList();
    assertThat(rows.subList(1, rows.size()))
        .extracting(row -> row.path("setting").path("threshold").asDouble())
        .containsExactly(0.9, 0.7, 0.5, 0.4, 0.3, 0.2, 0.95, 0.9, 0.8);
    assertThat(rows.getFirst().path("setting").path("mode").textValue()).isEqualTo("speculative");
    for (JsonNode row : rows) {
      JsonNode shares = row.path("shares");
      double sum =
          shares.path("exit_1").asDouble()
              + shares.path("exit_2").asDouble()
              + shares.path("final").asDouble();
      assertThat(sum).isCloseTo(1, within(1e-9));
      assertThat(row.path("tokens_per_second").asDouble()).isPositive();
      assertThat(row.path("speed_up").asDouble())
          .isBetween(
              row.path("spread").path("least").asDouble(),
              row.path("spread").path("most").asDouble());
      assertThat(row.path("agreement").asDouble()).isBetween(0.0, 1.0);
    }
    // Drafts lose nothing: all tokens are the full model's.
    assertThat(rows.getFirst().path("agreement").asDouble()).isEqualTo(1);
    assertThat(rows.getFirst().path("shares").path("final").asDouble()).isEqualTo(1);
    assertThat(report.path("methods")).isNotEmpty();
  }

  private static void assertIsPicture(Path file) throws IOException {
    BufferedImage picture = ImageIO.read(file.toFile());
    assertThat(picture.getWidth()).isGreaterThan(600);
  }

  private void assertNextCommandsParse() {
    List<String> commands =
        out.toString().lines().filter(line -> line.startsWith("  ./eellm ")).toList();
    assertThat(commands).hasSize(3);
    for (String command : commands) {
      RootCommand.commandLine()
          .parseArgs(ShellWords.of(command).stream().skip(1).toArray(String[]::new));
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      textBlock =
          """
          --methods=0                  | --methods: 0 is below 1
          --rounds=-1                  | --rounds: -1 is below 1
          --set=data.sources=[mine]    | --set data: quickstart brings its own text
          --set=data.tokenizer=mine    | --set data: quickstart brings its own text
          --set=train.stops=3          | --set train.stops=3: train.stops: unknown key
          """)
  void quickstart_wrongUse_isRefusedBeforeAnyWork(String option, String message) {
    assertThat(quickstart(folder.resolve("run"), List.of(option))).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: " + message);
    assertThat(folder.resolve("run")).doesNotExist();
  }

  @Test
  void quickstart_tooFewPositionsForMethods_isRefusedBeforeAnyWork() {
    List<String> short64 = List.of("--set=model.max_positions=64", "--set=data.sequence_length=64");

    assertThat(quickstart(folder.resolve("run"), short64)).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: --set model.max_positions: 64 have no room for the 256 tokens");
    assertThat(folder.resolve("run")).doesNotExist();
  }

  @Test
  void quickstart_folderOfSomethingElse_isLeftAlone() throws IOException {
    Files.writeString(folder.resolve("thesis.txt"), "precious");
    assertThat(quickstart(folder, List.of())).isEqualTo(2);
    assertThat(err.toString()).contains(folder + ": is not empty; remove that folder, or give");

    ConfigFile.write(ConfigFile.defaults(), folder.resolve("config.yaml"));
    assertThat(quickstart(folder, List.of())).isEqualTo(2);
    assertThat(err.toString()).contains("holds another run");
    assertThat(folder.resolve("data")).doesNotExist();
  }

  private int quickstart(Path output, List<String> options) {
    List<String> args = new ArrayList<>(List.of("quickstart", "--output", output.toString()));
    args.addAll(options);
    return eellm(args.toArray(String[]::new));
  }

  private int eellm(String... args) {
    out.getBuffer().setLength(0);
    err.getBuffer().setLength(0);
    return Commands.run(out, err, args);
  }
}
