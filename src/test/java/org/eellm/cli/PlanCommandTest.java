package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

final class PlanCommandTest {
  private record Outcome(int code, String out, String err) {}

  private static Outcome plan(String... more) {
    String[] args = new String[more.length + 3];
    args[0] = "plan";
    args[1] = "--config";
    args[2] = "configs/ee-llm-7b.yaml";
    System.arraycopy(more, 0, args, 3, more.length);
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    CommandLine commandLine =
        RootCommand.commandLine()
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true));
    return new Outcome(Main.run(commandLine, args), out.toString(), err.toString());
  }

  @Test
  void plan_whatFits_isShownWithAndWithoutExits() throws IOException {
    String[] mesh = {
      "--hardware", "a100-80gb", "--devices", "64",
      "--set", "parallel.pp=4", "--set", "train.recompute=selective"
    };
    Outcome text = plan(mesh);

    assertThat(text.code()).as(text.err()).isZero();
    assertThat(text.out())
        .contains("64 x", "dp 16, pp 4", "time of a step", "stage 3")
        .doesNotContain("does not fit");
    String[] asJson = Arrays.copyOf(mesh, mesh.length + 1);
    asJson[mesh.length] = "--json";
    Outcome json = plan(asJson);
    assertThat(json.code()).as(json.err()).isZero();
    JsonNode report = new ObjectMapper().readTree(json.out());
    assertThat(report.findValues("fits")).isNotEmpty().allMatch(JsonNode::booleanValue);
  }

  @Test
  void plan_tooMuchForADevice_saysByHowMuchAndWhatHelps() {
    Outcome outcome = plan("--hardware", "a100-80gb", "--devices", "1");

    assertThat(outcome.code()).as(outcome.err()).isZero();
    assertThat(outcome.out()).contains("This does not fit: stage 0 needs", "use more tp or pp");
  }

  @Test
  void plan_unknownHardware_isRefused() {
    Outcome outcome = plan("--hardware", "a100", "--devices", "1");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains("hardware a100: is unknown");
  }
}
