package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.eellm.cli.Commands;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class BenchDecodeCommandTest {
  private static final int THREADS = Torch.threads();

  /** Small; one thread. */
  private static final List<String> TINY =
      List.of(
          "--set", "model.vocab_size=512",
          "--set", "model.hidden_size=256",
          "--set", "model.num_layers=4",
          "--set", "model.num_heads=4",
          "--set", "model.ffn_hidden_size=512",
          "--set", "model.max_positions=96",
          "--set", "data.sequence_length=96",
          "--set", "exits.layers=[1,2]",
          "--set", "exits.weights=[0.1,0.1]",
          "--set", "train.threads=1");

  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @AfterAll
  static void useAllThreads() {
    Torch.setThreads(THREADS);
  }

  private int bench(String... args) {
    List<String> all = new ArrayList<>(List.of("bench", "decode"));
    all.addAll(TINY);
    all.addAll(List.of(args));
    Map.of("--rounds", "9", "--max-tokens", "8")
        .forEach(
            (option, value) -> {
              if (!all.contains(option)) {
                all.addAll(List.of(option, value));
              }
            });
    return Commands.run(out, err, all.toArray(String[]::new));
  }

  private JsonNode json(String... args) throws IOException {
    List<String> all = new ArrayList<>(List.of(args));
    all.add("--json");
    assertThat(bench(all.toArray(String[]::new))).as(err::toString).isZero();
    return new ObjectMapper().readTree(out.toString());
  }

  @Test
  void benchDecode_json_hasFiguresOfEveryRowAndMode() throws IOException {
    JsonNode output =
        json(
            "--rows",
            "2,4",
            "--context",
            "16,40",
            "--batch-size",
            "1,3",
            "--set",
            "exits.head=[norm,mlp,block]");

    JsonNode report = output.path("report");
    assertThat(report.path("dtype").asText()).isEqualTo("bfloat16");
    JsonNode costs = report.path("costs");
    assertThat(costs.path("kernel").asText())
        .containsAnyOf("Vector API", "machine code", "plain Java");
    assertThat(costs.path("within_cache").asBoolean()).isTrue();
    assertThat(costs.path("read_bytes_per_second").asDouble()).isGreaterThan(1e6);
    assertThat(costs.path("steps")).hasSize(2 * 3);
    assertThat(costs.path("steps").findValuesAsText("rows"))
        .containsExactly("1", "2", "4", "1", "2", "4");
    assertThat(costs.path("steps").findValuesAsText("context"))
        .containsExactly("16", "16", "16", "40", "40", "40");
    for (JsonNode step : costs.path("steps")) {
      assertThat(step.at("/step/microseconds").asDouble()).isPositive();
      assertThat(step.at("/step/ratio").asDouble()).isPositive();
      assertThat(step.path("share_of_read_rate").asDouble()).isPositive();
    }
    JsonNode first = costs.path("steps").get(0);
    assertThat(first.at("/step/ratio").asDouble()).isEqualTo(1);
    assertThat(report.path("modes")).hasSize(2 * 3);
    for (JsonNode mode : report.path("modes")) {
      assertThat(mode.path("tokens_per_second").asDouble()).isPositive();
      assertThat(mode.path("share_of_ideal").asDouble()).isPositive();
    }
    assertThat(report.path("modes").get(2).path("speedup").asDouble()).isEqualTo(1);
  }

  @Test
  void benchDecode_text_hasTablesOfCostsAndModes() {
    assertThat(
            bench(
                "--rows",
                "1,2",
                "--quantize",
                "int8",
                "--set",
                "exits.layers=[]",
                "--set",
                "exits.weights=[]"))
        .as(err::toString)
        .isZero();

    assertThat(out.toString())
        .startsWith("int8, 1 threads, median of 9 rounds\n")
        .contains("\ncontext  rows        us  ratio  of the read rate\n")
        .containsPattern("\n +48 +1 +[0-9.]+ +1\\.00 +[0-9.]+\n")
        .containsPattern("\n +48 +2 +[0-9.]+ +[0-9.]+ +[0-9.]+\n")
        .containsPattern("\n +1  final +4 .* 1\\.00 +1\\.00 +100 %\n")
        .doesNotContain("exit_");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--rows 0 | --rows: 0 is outside 1..256; use a number of these",
        "--rows 1,300 | --rows: 300 is outside 1..256; use a number of these",
        "--context -1 | --context: -1 is below 0; use 0 or more",
        "--context 90 --rows 8 | --context: 90 and 8 rows are beyond model.max_positions 96; use"
            + " at most 88, fewer --rows, or --set model.max_positions=98",
        "--batch-size 0 | --batch-size: 0 is below 1; use 1 or more",
        "--max-tokens 1 | --max-tokens: 1 is below 2; use 2 or more",
        "--max-tokens 80 | --max-tokens: 80 with a prompt is beyond model.max_positions 96; use at"
            + " most 64",
        "--rounds 0 | --rounds: 0 is below 1",
        "--rows x | Invalid value for option '--rows'"
      })
  void benchDecode_badOptions_areNamedWithARemedy(String options, String message) {
    assertThat(bench(options.split(" "))).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: " + message);
    assertThat(out.toString()).isEmpty();
  }
}
