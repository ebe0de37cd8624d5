package org.eellm.cli.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.stream.StreamSupport;
import org.eellm.cli.Main;
import org.eellm.cli.option.JsonOption;
import org.eellm.config.RunConfig;
import org.eellm.cost.Hardware;
import org.eellm.cost.plan.Plan;
import org.eellm.cost.plan.Planner;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.train.TrainException;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm bench plan}: what was planned for two ranks beside what they do. */
@Command(
    name = "plan",
    description = {
      "Plan and run two ranks as stages, as stages with zero bubble, as replicas and as"
          + " tensor-parallel ranks, each with the exits and without, and show both side by side.",
      "Each run is an eellm bench train --mesh-only in processes of its own."
    })
final class BenchPlanCommand implements Callable<Integer> {
  private static final int RANKS = 2;

  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;
  @Mixin private BenchOptions options;

  @Option(
      names = "--hardware",
      required = true,
      paramLabel = "FILE",
      description = "This machine's profile, from eellm doctor --profile FILE --nproc 2.")
  private String hardware = "";

  /** A way to train on two ranks. */
  private record Mesh(String name, List<String> settings) {}

  private static final List<Mesh> MESHES =
      List.of(
          new Mesh("pp 2", List.of("parallel.pp=2", "train.micro_batch_size=1")),
          new Mesh(
              "pp 2, zero bubble",
              List.of(
                  "parallel.pp=2", "parallel.schedule=zero_bubble", "train.micro_batch_size=1")),
          new Mesh("dp 2", List.of("parallel.dp=2", "train.micro_batch_size=4")),
          new Mesh("tp 2", List.of("parallel.tp=2", "train.micro_batch_size=4")));

  private static final List<String> NO_EXITS = List.of("exits.layers=[]", "exits.weights=[]");

  /**
   * A plan and its run.
   *
   * @param exits layers of the exits
   */
  record Row(
      long parameters,
      String mesh,
      List<Integer> exits,
      double plannedSeconds,
      double measuredSeconds,
      long plannedBytes,
      long measuredBytes) {
    double timeError() {
      return plannedSeconds / measuredSeconds - 1;
    }

    double memoryError() {
      return (double) plannedBytes / measuredBytes - 1;
    }
  }

  @Override
  public Integer call() throws IOException {
    Hardware profile = Hardware.read(hardware);
    PrintWriter out = spec.commandLine().getOut();
    if (!json.requested()) {
      printHeader(out);
    }
    for (Mesh mesh : MESHES) {
      for (List<String> exits : List.of(List.<String>of(), NO_EXITS)) {
        List<String> settings = new ArrayList<>();
        settings.add("train.threads=" + Math.max(1, cores() / RANKS));
        settings.add("train.global_batch_size=8");
        settings.addAll(mesh.settings());
        settings.addAll(exits);
        Row row = row(mesh, settings, profile);
        json.print(out, row, () -> print(row, out));
      }
    }
    return ExitCode.OK;
  }

  private static int cores() {
    return Runtime.getRuntime().availableProcessors();
  }

  private Row row(Mesh mesh, List<String> settings, Hardware profile) throws IOException {
    RunConfig config = options.read(spec, settings);
    Plan plan = Planner.plan(config, profile);
    JsonNode run = run(settings);
    long fullest =
        StreamSupport.stream(run.path("memory").spliterator(), false)
            .mapToLong(JsonNode::longValue)
            .max()
            .orElseThrow();
    return new Row(
        plan.parameters().total(),
        mesh.name(),
        config.exits().layers(),
        plan.time().total(),
        run.path("measured").path("step_seconds").doubleValue(),
        plan.fullest().memory().total(),
        fullest);
  }

  private JsonNode run(List<String> settings) throws IOException {
    List<String> arguments =
        new ArrayList<>(
            List.of("bench", "train", "--nproc", Integer.toString(RANKS), "--mesh-only", "--json"));
    arguments.addAll(options.arguments());
    for (String setting : settings) {
      arguments.add("--set");
      arguments.add(setting);
    }
    List<String> command = LocalLauncher.sameProgram(Main.class.getName(), arguments, 1);
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    int code = process.onExit().join().exitValue();
    if (code != 0) {
      throw new TrainException(
          "eellm %s: ended with exit code %d; what it says is above"
              .formatted(String.join(" ", arguments), code));
    }
    return new ObjectMapper().readTree(output);
  }

  private static void printHeader(PrintWriter out) {
    out.println(
        "| parameters | mesh | exits | step | planned | | memory of the fullest rank | planned |"
            + " |");
    out.println("|---|---|---|---|---|---|---|---|---|");
    out.flush();
  }

  private static void print(Row row, PrintWriter out) {
    out.printf(
        Locale.ROOT,
        "| %.1f M | %s | %s | %.3f s | %.3f s | %+.0f %% | %,.0f MB | %,.0f MB | %+.0f %% |%n",
        row.parameters() / 1e6,
        row.mesh(),
        row.exits().isEmpty() ? "none" : row.exits().toString().replaceAll("[\\[\\]]", ""),
        row.measuredSeconds(),
        row.plannedSeconds(),
        100 * row.timeError(),
        row.measuredBytes() / 1e6,
        row.plannedBytes() / 1e6,
        100 * row.memoryError());
    out.flush();
  }
}
