package org.eellm.cost.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.cost.BranchCosts;
import org.eellm.cost.Hardware;
import org.eellm.schedule.Action;
import org.eellm.schedule.MessageQueues;
import org.eellm.schedule.Schedule;
import org.eellm.schedule.ScheduleException;
import org.eellm.schedule.ScheduleValidator;
import org.eellm.schedule.Timeline;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Whole steps of 1.3 to 405 billion parameters on up to 16,384 devices, simulated. */
final class LargePlanTest {
  private static final Hardware H100 = Hardware.read("h100-80gb");

  private static RunConfig config(String model, int tp, int dp, int pp, int chunks) {
    return ConfigFile.preset(
        model,
        List.of(
            "parallel.tp=" + tp,
            "parallel.dp=" + dp,
            "parallel.pp=" + pp,
            "parallel.chunks=" + chunks,
            "train.micro_batch_size=1"));
  }

  @ParameterizedTest
  @CsvSource({
    "ee-llm-1.3b, 1, 16, 4, 1, 64",
    "ee-llm-7b, 2, 64, 4, 2, 512",
    "ee-llm-13b, 2, 128, 4, 1, 1024",
    "ee-llm-30b, 4, 128, 4, 5, 2048",
    "llama-70b, 8, 64, 8, 5, 4096",
    "llama-405b, 8, 128, 16, 1, 16384",
    "llama-405b, 8, 256, 8, 4, 16384"
  })
  void plan_wholeStep_addsUpToTheClosedForms(
      String model, int tp, int dp, int pp, int chunks, int devices) {
    RunConfig config = config(model, tp, dp, pp, chunks);
    assertThat(tp * dp * pp).isEqualTo(devices);
    int microbatches = config.train().globalBatchSize() / dp;

    Plan plan = Planner.plan(config, H100);
    Timeline timeline = plan.timeline();

    // A stage's work is its microbatches times its slices' forward and backward passes and heads.
    BranchCosts costs = new BranchCosts(config, H100);
    for (Plan.StagePlan stage : plan.stages()) {
      double seconds =
          microbatches
              * stage.slices().stream()
                  .mapToDouble(
                      slice ->
                          costs.seconds(costs.forward(slice))
                              + costs.seconds(costs.backward(slice))
                              + costs.seconds(costs.heads(slice)))
                  .sum();
      double idle = timeline.idleShare(stage.stage()) * timeline.makespan();
      assertThat(timeline.makespan() - idle).isCloseTo(seconds, within(1e-9 * seconds));
    }
    // Each microbatch crosses each boundary once up and once down.
    Schedule schedule = timeline.schedule();
    long messages =
        schedule.actions().stream()
            .flatMap(List::stream)
            .filter(action -> action instanceof Action.Send)
            .count();
    assertThat(messages).isEqualTo(2L * (pp * chunks - 1) * microbatches);
    assertThat(plan.time().total())
        .isGreaterThanOrEqualTo(new Planner(RunSchedules.of(config), H100).leastSeconds());
  }

  /** With equal stages, 1F1B takes (M + P - 1)(f + b), and a message's way twice P - 1 times. */
  @Test
  void plan_equalStages_takesTheClosedFormAndTheMessages() {
    RunConfig config =
        ConfigFile.preset(
            "llama-405b",
            List.of(
                "parallel.tp=8",
                "parallel.dp=256",
                "parallel.pp=7",
                "train.micro_batch_size=1",
                "train.global_batch_size=16384",
                "exits.layers=[]",
                "exits.weights=[]",
                "exits.tie_output=true"));
    Timeline timeline = Planner.plan(config, H100).timeline();
    BranchCosts costs = new BranchCosts(config, H100);
    var slices = RunSchedules.of(config).stageLayout().slices();
    double layers =
        costs.seconds(costs.forward(slices.get(3))) + costs.seconds(costs.backward(slices.get(3)));
    double last = layers + costs.seconds(costs.heads(slices.getLast()));
    int microbatches = 64;

    // The last stage, which has the final head, sets the pace; the others' bubbles are around it.
    double paced = microbatches * last + 6 * layers;
    assertThat(timeline.makespan()).isBetween(paced, 1.03 * paced);
  }

  @ParameterizedTest
  @CsvSource({"ee-llm-7b, 4, 1", "llama-70b, 8, 1", "llama-405b, 16, 1"})
  void schedule_bothDirectionsInOneQueue_isRefused(String model, int pp, int chunks) {
    RunConfig config = config(model, 8, 16, pp, chunks);
    Schedule schedule = RunSchedules.of(config).schedule(2 * pp);

    ScheduleValidator.check(schedule);
    assertThatThrownBy(() -> ScheduleValidator.check(schedule, MessageQueues.PER_PAIR))
        .isInstanceOf(ScheduleException.class);
  }

  /** EE-LLM's claim: one exit a stage, before the last stage, costs neither time nor memory. */
  @ParameterizedTest
  @CsvSource({"ee-llm-1.3b, 1", "ee-llm-7b, 1", "ee-llm-13b, 2", "ee-llm-30b, 4"})
  void exitCosts_papersModels_areNextToNothing(String model, int tp) {
    int layers = ConfigFile.preset(model, List.of()).model().numLayers();
    Plan none = paperPlan(tp, model, "exits.layers=[]");
    Plan two =
        paperPlan(
            tp,
            model,
            "exits.layers=[%d,%d]".formatted(layers / 4, layers / 2),
            "parallel.pre_exit=true");

    assertThat(two.time().total()).isLessThan(1.02 * none.time().total());
    assertThat(fullest(two)).isLessThanOrEqualTo(fullest(none));
  }

  private static Plan paperPlan(int tp, String model, String... exits) {
    List<String> settings = new ArrayList<>(List.of(exits));
    settings.add("exits.weights=[]");
    settings.add("parallel.tp=" + tp);
    settings.add("parallel.dp=" + 16 / tp);
    settings.add("parallel.pp=4");
    settings.add("parallel.sequence_parallel=" + (tp > 1));
    settings.add("train.recompute=selective");
    return Planner.plan(ConfigFile.preset(model, settings), Hardware.read("a100-80gb"));
  }

  private static long fullest(Plan plan) {
    return IntStream.range(0, plan.stages().size())
        .mapToLong(stage -> plan.stages().get(stage).memory().total())
        .max()
        .orElseThrow();
  }
}
