package org.eellm.cli.plan;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.eellm.cli.option.ConfigOptions;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.Usage;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitsConfig;
import org.eellm.config.ParallelConfig;
import org.eellm.config.ParallelConfig.PipelineSchedule;
import org.eellm.config.RunConfig;
import org.eellm.cost.Hardware;
import org.eellm.cost.plan.MeshSearch;
import org.eellm.cost.plan.Plan;
import org.eellm.cost.plan.Planner;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm plan}: what a run will take on hardware that need not be there. */
@Command(
    name = "plan",
    description =
        "Say what a run will take, before it is started: memory, time, cost; docs/plan.md"
            + " explains it.")
public final class PlanCommand extends EellmCommand {
  @Mixin private ConfigOptions config;
  @Mixin private JsonOption json;

  @Option(
      names = "--hardware",
      required = true,
      paramLabel = "NAME|FILE",
      description =
          "a100-80gb, h100-80gb, rtx4090-24gb, or a profile of your own in YAML (docs/plan.md).")
  private String hardware = "";

  @Option(
      names = "--devices",
      paramLabel = "N",
      description =
          "Devices in all; what parallel.tp, cp and pp leave is parallel.dp (default: as the"
              + " configuration says).")
  private Optional<Integer> devices = Optional.empty();

  @Option(
      names = "--search",
      description =
          "Find the quickest mesh, split, schedule, microbatch and recomputation for --devices, and"
              + " show the best few.")
  private boolean search;

  @Option(
      names = "--top",
      paramLabel = "K",
      description = "With --search: how many meshes to show (default: 5).")
  private Optional<Integer> top = Optional.empty();

  @Option(
      names = "--svg",
      paramLabel = "FILE",
      description = "Draw the timeline of a step as an SVG picture.")
  private Optional<Path> picture = Optional.empty();

  @Override
  public Integer call() throws IOException {
    Hardware profile = Hardware.read(hardware);
    if (search) {
      return find(config.read(), profile);
    }
    Usage.require(spec, top.isEmpty(), "--top: has no effect here; give --search as well");
    RunConfig run = onDevices(config.read());
    Plan plan = Planner.plan(run, profile);
    Optional<Plan> bare =
        run.exits().layers().isEmpty() || run.tune().model().isPresent()
            ? Optional.empty()
            : Optional.of(Planner.plan(withoutExits(run), profile));
    if (picture.isPresent()) {
      Files.writeString(
          picture.get(),
          TimelineSvg.draw(
              plan.timeline(), PlanText.title(plan), PlanText.summary(plan), "seconds"));
    }
    if (json.requested()) {
      JsonOption.print(
          out(),
          bare.map(other -> PlanReport.of(plan, other)).orElseGet(() -> PlanReport.of(plan)));
    } else {
      PlanText.print(plan, bare.stream().toList(), out());
      if (!plan.fits() && run.tune().model().isEmpty()) {
        SearchText.printWhatFits(run, profile, out());
      }
    }
    return ExitCode.OK;
  }

  private int find(RunConfig run, Hardware profile) {
    Usage.require(
        spec, picture.isEmpty(), "--svg: is of one mesh; give its settings without --search");
    if (run.tune().model().isPresent()) {
      throw new ConfigException(
          "tune.model: --search compares runs that train all of a model; leave it out, or plan one"
              + " mesh");
    }
    requireSearched(run.parallel());
    int count = devices.orElse(run.parallel().worldSize());
    int shown = top.orElse(5);
    Usage.require(
        spec, count >= 1 && shown >= 1, "--devices %d, --top %d: use 1 or more", count, shown);
    MeshSearch.Result result = MeshSearch.search(run, profile, count, shown);
    json.print(
        out(), PlanReport.of(result), () -> SearchText.print(result, run, profile, count, out()));
    return result.best().isEmpty() ? ExitCode.SOFTWARE : ExitCode.OK;
  }

  /** Refuses settings that no mesh of a search has. */
  private static void requireSearched(ParallelConfig mesh) {
    if (mesh.schedule() != PipelineSchedule.ONE_FORWARD_ONE_BACKWARD) {
      throw withoutEffect("parallel.schedule", SearchText.lower(mesh.schedule()), "leave it out");
    }
    if (!mesh.layersPerStage().isEmpty()) {
      throw withoutEffect("parallel.layers_per_stage", mesh.layersPerStage(), "leave it out");
    }
    if (mesh.fillWarmup() != 0) {
      throw withoutEffect("parallel.fill_warmup", mesh.fillWarmup(), "use 0");
    }
    if (mesh.fillCooldown() != 0) {
      throw withoutEffect("parallel.fill_cooldown", mesh.fillCooldown(), "use 0");
    }
  }

  private static ConfigException withoutEffect(String key, Object value, String remedy) {
    return new ConfigException(
        "%s: %s has no effect with --search; %s, or plan one mesh without --search"
            .formatted(key, value, remedy));
  }

  private RunConfig onDevices(RunConfig run) {
    if (devices.isEmpty()) {
      return run;
    }
    ParallelConfig mesh = run.parallel();
    int unit = mesh.tp() * mesh.cp() * mesh.pp();
    int count = devices.get();
    Usage.requireAtLeast(spec, 1, count, "--devices");
    Usage.require(
        spec,
        count % unit == 0,
        "--devices: %d is not a multiple of %d (parallel.tp %d%s x parallel.pp %d); use %d or %d",
        count,
        unit,
        mesh.tp(),
        mesh.cp() > 1 ? " x parallel.cp " + mesh.cp() : "",
        mesh.pp(),
        Math.max(1, count / unit) * unit,
        Math.max(1, count / unit + 1) * unit);
    return run.withParallel(mesh.withDp(count / unit));
  }

  private static RunConfig withoutExits(RunConfig run) {
    return run.withExits(ExitsConfig.none());
  }
}
