package org.eellm.cli.plan;

import java.io.PrintWriter;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.StageLayout.Slice;
import org.eellm.cost.Memory;
import org.eellm.cost.ParameterCount;
import org.eellm.cost.plan.Plan;
import org.eellm.cost.plan.Plan.StagePlan;

/** A plan in words and tables. */
final class PlanText {
  private static final double GIB = 1L << 30;

  private PlanText() {}

  /**
   * Prints a plan, beside others.
   *
   * @param bare the same without exits, if it has any
   */
  static void print(Plan plan, List<Plan> bare, PrintWriter out) {
    ParameterCount count = plan.parameters();
    out.println(title(plan));
    out.println();
    line(out, "parameters", billions(count.total()), "%s of them exits", billions(count.exits()));
    line(
        out,
        "a step",
        "%,d tokens".formatted(plan.tokensPerStep()),
        "%d microbatches of %d a replica, %.3g model FLOPs",
        plan.timeline().schedule().microbatches(),
        plan.config().train().microBatchSize(),
        plan.flops());
    out.println();
    out.printf(
        "%24s%13s%s%n",
        "",
        plan.config().tune().model().isPresent()
            ? "tuning exits"
            : bare.isEmpty() ? "without exits" : "with exits",
        bare.isEmpty() ? "" : "%13s".formatted("without"));
    row(out, "time of a step", plan, bare, p -> seconds(p.time().total()));
    row(out, "  pipeline", plan, bare, p -> seconds(p.time().pipeline()));
    row(out, "  sums of gradients", plan, bare, p -> seconds(p.time().gradients()));
    row(out, "  update", plan, bare, p -> seconds(p.time().update()));
    row(out, "  gather", plan, bare, p -> seconds(p.time().gather()));
    row(out, "bubble share", plan, bare, p -> percent(p.timeline().bubbleShare()));
    row(out, "model FLOPs utilization", plan, bare, p -> percent(p.utilization()));
    row(out, "tokens a second", plan, bare, p -> "%,.0f".formatted(p.tokensPerSecond()));
    row(out, "tokens a day", plan, bare, p -> "%.3g B".formatted(p.tokensPerDay() / 1e9));
    row(out, "days for all steps", plan, bare, p -> "%.1f".formatted(p.days()));
    if (plan.dollars().isPresent()) {
      row(out, "dollars", plan, bare, p -> "%,.0f".formatted(p.dollars().orElseThrow()));
    }
    row(out, "fullest rank", plan, bare, p -> gib(p.fullest().memory().total()));
    if (!plan.fits()) {
      out.printf(
          "This does not fit: stage %d needs %s, %s more than a device has%n",
          plan.fullest().stage(),
          gib(plan.fullest().memory().total()),
          gib(plan.fullest().memory().total() - plan.hardware().memoryBytes()));
    }
    out.println();
    memory(plan, out);
  }

  private static void memory(Plan plan, PrintWriter out) {
    out.println(
        "GiB a rank   weights gradients optimizer activations  heads temporary messages   base"
            + "    all  layers and exits");
    for (StagePlan stage : plan.stages()) {
      Memory memory = stage.memory();
      out.printf(
          Locale.ROOT,
          "stage %-3d    %7.2f %9.2f %9.2f %11.2f %6.2f %9.2f %8.2f %6.2f %6.2f  %s%n",
          stage.stage(),
          memory.weights() / GIB,
          memory.gradients() / GIB,
          memory.optimizer() / GIB,
          memory.activations() / GIB,
          memory.heads() / GIB,
          memory.temporary() / GIB,
          memory.messages() / GIB,
          memory.base() / GIB,
          memory.total() / GIB,
          contents(stage.slices()));
    }
  }

  private static String contents(List<Slice> slices) {
    return slices.stream()
        .map(
            slice ->
                (slice.firstLayer() + 1)
                    + "-"
                    + slice.endLayer()
                    + (slice.exits().isEmpty() ? "" : " with exit " + joined(slice.exits())))
        .collect(Collectors.joining("; "));
  }

  /** The model's size, the mesh and the exits, in a line. */
  static String title(Plan plan) {
    List<Integer> exits = plan.config().exits().layers();
    return "%s, %s"
        .formatted(
            mesh(plan), exits.isEmpty() ? "no exits" : "exits after layers " + joined(exits));
  }

  /** The model's size and the mesh, in a line. */
  static String mesh(Plan plan) {
    ParallelConfig mesh = plan.config().parallel();
    return "%s parameters on %d x %s: tp %d, %sdp %d, pp %d%s%s"
        .formatted(
            billions(plan.parameters().total()),
            plan.devices(),
            plan.hardware().name(),
            mesh.tp(),
            mesh.cp() > 1 ? "cp %d, ".formatted(mesh.cp()) : "",
            mesh.dp(),
            mesh.pp(),
            mesh.chunks() > 1 ? " x %d chunks".formatted(mesh.chunks()) : "",
            mesh.schedule() == PipelineSchedule.ZERO_BUBBLE ? ", zero bubble" : "");
  }

  /** The step's time, the bubble share and the utilization, in a line. */
  static String summary(Plan plan) {
    return "step %s, bubble share %s, utilization %s"
        .formatted(
            seconds(plan.time().total()),
            percent(plan.timeline().bubbleShare()),
            percent(plan.utilization()));
  }

  private interface Cell {
    String of(Plan plan);
  }

  private static void row(PrintWriter out, String name, Plan plan, List<Plan> bare, Cell cell) {
    out.printf(
        "%-24s%13s%s%n",
        name,
        cell.of(plan),
        bare.stream().map(other -> "%13s".formatted(cell.of(other))).collect(Collectors.joining()));
  }

  private static void line(
      PrintWriter out, String name, String value, String more, Object... arguments) {
    out.printf("%-24s%s, %s%n", name, value, more.formatted(arguments));
  }

  static String joined(List<Integer> numbers) {
    return numbers.stream().map(String::valueOf).collect(Collectors.joining(", "));
  }

  private static String billions(long count) {
    return count >= 1_000_000_000
        ? "%.2f B".formatted(count / 1e9)
        : "%.1f M".formatted(count / 1e6);
  }

  static String seconds(double seconds) {
    return seconds >= 10 ? "%.1f s".formatted(seconds) : "%.3f s".formatted(seconds);
  }

  static String percent(double share) {
    return "%.1f %%".formatted(100 * share);
  }

  static String gib(long bytes) {
    return "%.2f GiB".formatted(bytes / GIB);
  }
}
