package org.eellm.cli.plan;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Arrays;
import org.eellm.cli.Commands;
import org.eellm.cli.Commands.Outcome;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class PlanCommandTest {
  private static Outcome plan(String... more) {
    String[] args = new String[more.length + 3];
    args[0] = "plan";
    args[1] = "--config";
    args[2] = "configs/ee-llm-7b.yaml";
    System.arraycopy(more, 0, args, 3, more.length);
    return Commands.run(args);
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
    assertThat(outcome.out())
        .contains("This does not fit: stage 0 needs", "more than a device has", "this fits on");
  }

  @Test
  void plan_search_showsTheBestAndWhatBecameOfTheOthers() throws IOException {
    String[] search = {"--hardware", "a100-80gb", "--devices", "8", "--search", "--top", "2"};
    Outcome text = plan(search);

    assertThat(text.code()).as(text.err()).isZero();
    assertThat(text.out())
        .contains("ways to train on 8 x a100-80gb", "do not fit", "the first of them:")
        .contains("--set train.micro_batch_size=");
    String[] asJson = Arrays.copyOf(search, search.length + 1);
    asJson[search.length] = "--json";
    JsonNode report = new ObjectMapper().readTree(plan(asJson).out());
    assertThat(report.path("best")).hasSize(2);
    assertThat(report.path("settings").path(0)).isNotEmpty();
    double first = report.path("best").path(0).path("step_seconds").doubleValue();
    assertThat(first).isLessThan(report.path("best").path(1).path("step_seconds").doubleValue());
  }

  @Test
  void plan_optionsWithoutEffect_areRefused() {
    Outcome top = plan("--hardware", "a100-80gb", "--devices", "8", "--top", "3");

    assertThat(top.code()).isEqualTo(2);
    assertThat(top.err()).contains("--top: has no effect here; give --search as well");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "parallel.schedule=all_forward_all_backward | parallel.schedule: all_forward_all_backward",
        "parallel.schedule=zero_bubble | parallel.schedule: zero_bubble",
        "parallel.layers_per_stage=[20, 12] | parallel.layers_per_stage: [20, 12]",
        "parallel.fill_warmup=1 | parallel.fill_warmup: 1",
        "parallel.fill_cooldown=-1 | parallel.fill_cooldown: -1"
      })
  void plan_searchWithSettingsThatItReplaces_isRefused(String setting, String named) {
    Outcome outcome =
        plan("--hardware", "a100-80gb", "--search", "--set", "parallel.pp=2", "--set", setting);

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err())
        .contains(named + " has no effect with --search;", "or plan one mesh without --search");
  }

  @Test
  void plan_onFewerThanOneDevice_isRefused() {
    Outcome outcome = plan("--hardware", "a100-80gb", "--devices", "-1");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).startsWith("eellm: --devices: -1 is below 1; use 1 or more");
  }

  @Test
  void plan_unknownHardware_isRefused() {
    Outcome outcome = plan("--hardware", "a100", "--devices", "1");

    assertThat(outcome.code()).isEqualTo(2);
    assertThat(outcome.err()).contains("hardware a100: is unknown");
  }
}
