package org.eellm.cli.plan;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.cost.Memory;
import org.eellm.cost.ParameterCount;
import org.eellm.cost.plan.MeshSearch;
import org.eellm.cost.plan.Plan;
import org.eellm.cost.plan.Plan.StepTime;

/**
 * The report of {@code eellm plan --json}; times in seconds, memory in bytes.
 *
 * @param withoutExits the same run without its exits, if it has some
 */
record PlanReport(Run run, Optional<Run> withoutExits) {

  /**
   * A planned run.
   *
   * @param schedule as {@code parallel.schedule} takes it
   * @param utilization model FLOPs utilization
   */
  record Run(
      String hardware,
      int devices,
      int tp,
      int cp,
      int dp,
      int pp,
      String schedule,
      int chunks,
      List<Integer> exits,
      ParameterCount parameters,
      double flops,
      double stepSeconds,
      StepTime time,
      double bubbleShare,
      double utilization,
      double tokensPerSecond,
      double tokensPerDay,
      double days,
      Optional<Double> dollars,
      boolean fits,
      List<Stage> stages) {}

  /**
   * A stage.
   *
   * @param layers of each chunk, from 1, as in {@code 1-8}
   */
  record Stage(
      int stage,
      List<String> layers,
      List<Integer> exits,
      long parameters,
      double busySeconds,
      Memory memory,
      long memoryTotal) {}

  /**
   * The report of {@code eellm plan --search --json}.
   *
   * @param settings of each of the best, as {@code --set} takes them
   */
  record Search(
      int considered,
      Map<String, Integer> impossible,
      int tooLarge,
      Optional<Run> nearest,
      List<Run> best,
      List<List<String>> settings) {}

  static Search of(MeshSearch.Result result) {
    return new Search(
        result.considered(),
        result.impossible(),
        result.tooLarge(),
        result.nearest().map(PlanReport::run),
        result.best().stream().map(PlanReport::run).toList(),
        result.best().stream().map(plan -> SearchText.settings(plan.config())).toList());
  }

  static PlanReport of(Plan plan) {
    return new PlanReport(run(plan), Optional.empty());
  }

  /** A plan beside the same without exits. */
  static PlanReport of(Plan plan, Plan bare) {
    return new PlanReport(run(plan), Optional.of(run(bare)));
  }

  private static Run run(Plan plan) {
    var mesh = plan.config().parallel();
    return new Run(
        plan.hardware().name(),
        plan.devices(),
        mesh.tp(),
        mesh.cp(),
        mesh.dp(),
        mesh.pp(),
        SearchText.lower(mesh.schedule()),
        mesh.chunks(),
        plan.config().exits().layers(),
        plan.parameters(),
        plan.flops(),
        plan.time().total(),
        plan.time(),
        plan.timeline().bubbleShare(),
        plan.utilization(),
        plan.tokensPerSecond(),
        plan.tokensPerDay(),
        plan.days(),
        plan.dollars(),
        plan.fits(),
        plan.stages().stream().map(PlanReport::stage).toList());
  }

  private static Stage stage(Plan.StagePlan stage) {
    return new Stage(
        stage.stage(),
        stage.slices().stream()
            .map(slice -> (slice.firstLayer() + 1) + "-" + slice.endLayer())
            .toList(),
        stage.slices().stream().flatMap(slice -> slice.exits().stream()).toList(),
        stage.parameters(),
        stage.busy(),
        stage.memory(),
        stage.memory().total());
  }
}
