package org.eellm.cli.plan;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.Balance;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.RunConfig;
import org.eellm.cost.Hardware;
import org.eellm.cost.plan.MeshSearch;
import org.eellm.cost.plan.Plan;

/** The result of a search for meshes, in words and a table. */
final class SearchText {
  /** How many times more devices are tried where nothing fits. */
  private static final int MOST_DOUBLINGS = 10;

  private SearchText() {}

  /** Prints the best, and what became of the others. */
  static void print(
      MeshSearch.Result result, RunConfig run, Hardware hardware, int devices, PrintWriter out) {
    out.printf(
        "%,d ways to train on %d x %s: %,d do not fit, %,d cannot be%n",
        result.considered(),
        devices,
        hardware.name(),
        result.tooLarge(),
        result.impossible().values().stream().mapToInt(Integer::intValue).sum());
    result
        .impossible()
        .forEach((key, count) -> out.printf("  %,d are refused for %s%n", count, key));
    result
        .nearest()
        .ifPresent(
            plan ->
                out.printf(
                    "  the smallest that does not fit needs %s of %s: %s%n",
                    PlanText.gib(plan.fullest().memory().total()),
                    PlanText.gib(hardware.memoryBytes()),
                    String.join(" ", settings(plan.config()))));
    out.println();
    if (result.best().isEmpty()) {
      printMoreDevices(run, hardware, devices, out);
    } else {
      out.println(
          " tp  dp  pp schedule      micro recompute  balance exits    step    bubble utilization "
              + " fullest rank");
      result.best().forEach(plan -> row(plan, out));
      out.println();
      out.println("the first of them:");
      settings(result.best().getFirst().config())
          .forEach(setting -> out.println("  --set " + setting));
    }
  }

  /** Prints what would fit instead of a plan that does not. */
  static void printWhatFits(RunConfig run, Hardware hardware, PrintWriter out) {
    int devices = run.parallel().worldSize();
    MeshSearch.Result result = MeshSearch.search(run, hardware, devices, 1);
    if (result.best().isEmpty()) {
      printMoreDevices(run, hardware, devices, out);
    } else {
      printBest("This fits", result.best().getFirst(), out);
    }
  }

  private static void printMoreDevices(
      RunConfig run, Hardware hardware, int devices, PrintWriter out) {
    int count = devices;
    for (int doubling = 0; doubling < MOST_DOUBLINGS; doubling++) {
      count *= 2;
      MeshSearch.Result result = MeshSearch.search(run, hardware, count, 1);
      if (!result.best().isEmpty()) {
        printBest(
            "Nothing fits on %d; this fits on %d".formatted(devices, count),
            result.best().getFirst(),
            out);
        return;
      }
    }
    out.printf(
        "Nothing fits on %d devices, nor where that is doubled again and again up to %d%n",
        devices, count);
  }

  private static void printBest(String words, Plan plan, PrintWriter out) {
    out.printf(
        "%s: %s (%s a rank, step %s)%n",
        words,
        String.join(" ", settings(plan.config())),
        PlanText.gib(plan.fullest().memory().total()),
        PlanText.seconds(plan.time().total()));
  }

  private static void row(Plan plan, PrintWriter out) {
    ParallelConfig mesh = plan.config().parallel();
    out.printf(
        Locale.ROOT,
        "%3d %3d %3d %-12s %6d %-9s  %-7s %-6s %8s %7s %11s %13s%n",
        mesh.tp(),
        mesh.dp(),
        mesh.pp(),
        schedule(mesh),
        plan.config().train().microBatchSize(),
        lower(plan.config().train().recompute()),
        lower(mesh.balance()),
        mesh.pp() == 1 ? "" : mesh.preExit() ? "behind" : "before",
        PlanText.seconds(plan.time().total()),
        PlanText.percent(plan.timeline().bubbleShare()),
        PlanText.percent(plan.utilization()),
        PlanText.gib(plan.fullest().memory().total()));
  }

  private static String schedule(ParallelConfig mesh) {
    if (mesh.pp() == 1) {
      return "";
    }
    return mesh.schedule() == PipelineSchedule.ZERO_BUBBLE
        ? "zero bubble"
        : mesh.chunks() == 1 ? "1F1B" : mesh.chunks() + " chunks";
  }

  /** The settings of a run like this one, as {@code --set} takes them. */
  static List<String> settings(RunConfig config) {
    ParallelConfig mesh = config.parallel();
    List<String> settings = new ArrayList<>();
    settings.add("parallel.tp=" + mesh.tp());
    if (mesh.cp() > 1) {
      settings.add("parallel.cp=" + mesh.cp());
    }
    settings.add("parallel.dp=" + mesh.dp());
    settings.add("parallel.pp=" + mesh.pp());
    if (mesh.sequenceParallel()) {
      settings.add("parallel.sequence_parallel=true");
    }
    if (mesh.schedule() != PipelineSchedule.ONE_FORWARD_ONE_BACKWARD) {
      settings.add("parallel.schedule=" + lower(mesh.schedule()));
    }
    if (mesh.chunks() > 1) {
      settings.add("parallel.chunks=" + mesh.chunks());
    }
    if (mesh.balance() != Balance.EVEN) {
      settings.add("parallel.balance=" + lower(mesh.balance()));
    }
    if (mesh.preExit()) {
      settings.add("parallel.pre_exit=true");
    }
    settings.add("train.micro_batch_size=" + config.train().microBatchSize());
    settings.add("train.recompute=" + lower(config.train().recompute()));
    return settings;
  }

  static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }
}
