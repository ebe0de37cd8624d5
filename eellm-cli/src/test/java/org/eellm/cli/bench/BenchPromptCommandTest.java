package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import org.assertj.core.data.Percentage;
import org.eellm.cli.Commands;
import org.junit.jupiter.api.Test;

final class BenchPromptCommandTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void benchPrompt_json_hasEachLengthInOrder() throws Exception {
    assertThat(run("--lengths", "40,3", "--rounds", "2", "--json")).isZero();

    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.path("dtype").textValue()).isEqualTo("bfloat16");
    assertThat(report.path("rounds").intValue()).isEqualTo(2);
    JsonNode prompts = report.path("prompts");
    assertThat(prompts).hasSize(2);
    assertThat(prompts.get(0).path("tokens").intValue()).isEqualTo(40);
    assertThat(prompts.get(1).path("tokens").intValue()).isEqualTo(3);
    assertThat(prompts)
        .allSatisfy(
            prompt -> {
              double seconds = prompt.path("seconds").doubleValue();
              assertThat(seconds).isPositive();
              assertThat(seconds * prompt.path("tokens_per_second").doubleValue())
                  .isCloseTo(prompt.path("tokens").intValue(), Percentage.withPercentage(0.1));
            });
  }

  @Test
  void benchPrompt_forPeople_isATable() {
    assertThat(run("--lengths", "3", "--rounds", "1")).isZero();

    assertThat(out.toString()).contains("bfloat16, ", "first token ms");
  }

  @Test
  void benchPrompt_quantized_saysSo() {
    assertThat(run("--lengths", "3", "--rounds", "1", "--quantize", "int8")).isZero();

    assertThat(out.toString()).startsWith("int8, ");
  }

  @Test
  void benchPrompt_aPromptBeyondTheContext_isRefused() {
    assertThat(run("--lengths", "3,64")).isEqualTo(2);

    assertThat(err.toString())
        .contains("--lengths: 64 with a token more is beyond model.max_positions 64");
  }

  @Test
  void benchPrompt_anEmptyPrompt_isRefused() {
    assertThat(run("--lengths", "0")).isEqualTo(2);

    assertThat(err.toString()).contains("--lengths: 0 is below 1");
  }

  private int run(String... options) {
    List<String> all = new ArrayList<>(List.of("bench", "prompt"));
    for (String setting :
        List.of(
            "model.hidden_size=32",
            "model.num_layers=2",
            "model.num_heads=2",
            "model.ffn_hidden_size=64",
            "model.vocab_size=100",
            "model.max_positions=64",
            "data.sequence_length=32",
            "exits.layers=[]",
            "exits.weights=[]")) {
      all.addAll(List.of("--set", setting));
    }
    all.addAll(List.of(options));
    return Commands.run(out, err, all.toArray(String[]::new));
  }
}
