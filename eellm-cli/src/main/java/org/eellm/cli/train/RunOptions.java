package org.eellm.cli.train;

import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LocalRanks;
import org.eellm.cli.option.OutputPath;
import org.eellm.cli.option.PlainOutput;
import org.eellm.cli.option.RankOptions;
import org.eellm.cli.option.StopSignals;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.train.LocalReplicas;
import org.eellm.train.RunFolder;
import org.eellm.train.Trainer;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;

/** How a run is started, gone on with and watched, as a mixin of {@code train} and {@code tune}. */
public final class RunOptions {
  @Mixin private JsonOption json;
  @Mixin private RankOptions ranks;
  @Mixin private Replicas replicas;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description = "Folder for checkpoints, metrics and pictures; absent or empty, or --resume.")
  private Path output;

  @Option(
      names = "--resume",
      description = "Go on with the run in --output from its newest checkpoint.")
  private boolean resume;

  @Option(
      names = "--trace",
      description = "Write what every rank did, and when, to DIR/trace.json (ui.perfetto.dev).")
  private boolean trace;

  /** The report of {@code --json} at the end. */
  private record Report(
      long step, boolean finished, String checkpoint, SequencedMap<String, Object> evaluation) {}

  /**
   * Runs a configuration to its end or a signal, on as many ranks as it says.
   *
   * @param spec of the command
   * @return the exit code
   */
  int run(CommandSpec spec, RunConfig given) {
    OutputPath.requireFolder("--output", output);
    List<RunConfig> possible = replicas.of(given);
    Optional<Integer> toLaunch = ranks.toLaunch(spec);
    if (toLaunch.isPresent()) {
      RunConfig first = Replicas.onRanks(possible, toLaunch.get());
      Replicas.mesh(first).requireSize(toLaunch.get());
      return ranks.launch(
          spec,
          attempt ->
              Replicas.mesh(
                      possible.get(
                          Math.min(possible.indexOf(first) + attempt, possible.size() - 1)))
                  .size(),
          this::resumeWhatWasBegun);
    }
    Optional<RankInfo> place = RankInfo.detect(System.getenv());
    if (place.isEmpty() && possible.size() == 1) {
      RunConfig shared =
          resume ? LocalReplicas.sharingAs(output, given) : LocalReplicas.sharing(given);
      if (LocalReplicas.areReplicas(shared)) {
        return LocalReplicas.run(
            shared,
            world -> world.rank() == 0 ? train(spec, shared, world) : follow(shared, world));
      }
    }
    RunConfig here = Replicas.onRanks(possible, place.map(RankInfo::size).orElse(1));
    return LocalRanks.inWorld(
        Replicas.mesh(here),
        Duration.ofSeconds(here.parallel().timeoutSeconds()),
        LocalRanks.transport(here.train().device()),
        world -> train(spec, here, world));
  }

  /** A run that ended before it wrote anything has nothing to resume, and starts again. */
  private List<String> resumeWhatWasBegun() {
    return resume || !RunFolder.hasRun(output) ? List.of() : List.of("--resume");
  }

  /** As a thread of the first rank's process, which alone listens to signals. */
  private int follow(RunConfig given, World world) {
    try (Trainer trainer = open(given, world)) {
      trainer.run(MetricsSink.none(), () -> false);
    }
    return ExitCode.OK;
  }

  private Trainer open(RunConfig given, World world) {
    return resume
        ? Trainer.resume(given, output, world, trace)
        : Trainer.start(given, output, world, trace);
  }

  private int train(CommandSpec spec, RunConfig given, World world) {
    try (Trainer trainer = open(given, world)) {
      if (world.rank() > 0) {
        try (StopSignals stop =
            StopSignals.listen(spec.commandLine().getErr(), "saving after this step")) {
          trainer.run(MetricsSink.none(), stop);
        }
      } else {
        Outcome outcome = watch(trainer, spec.commandLine().getErr());
        report(spec, outcome, trainer.config().train().steps());
      }
    }
    return ExitCode.OK;
  }

  /** Trains to the end or a signal, and tells {@code err} how it comes on. */
  public static Outcome watch(Trainer trainer, PrintWriter err) {
    RunConfig config = trainer.config();
    boolean terminal = System.console() != null && System.console().isTerminal();
    try (StopSignals stop = StopSignals.listen(err, "saving after this step");
        ConsoleProgress console =
            new ConsoleProgress(
                PlainOutput.raw(err),
                terminal,
                trainer.step(),
                config.train().steps(),
                config.logging().interval())) {
      trainer.describe().forEach(console::line);
      long before = trainer.step();
      Outcome outcome = trainer.run(console, stop);
      if (outcome.step() > before) {
        LossPlot.write(trainer.folder().metrics(), trainer.folder().lossPlot());
      }
      return outcome;
    }
  }

  private void report(CommandSpec spec, Outcome outcome, int steps) {
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      SequencedMap<String, Object> evaluation =
          outcome.evaluation().map(Evaluation::values).orElseGet(LinkedHashMap::new);
      JsonOption.print(
          out,
          new Report(
              outcome.step(), outcome.finished(), outcome.checkpoint().toString(), evaluation));
    } else if (outcome.finished()) {
      out.printf("all %,d steps are done; the result is in %s%n", steps, outcome.checkpoint());
    } else {
      out.printf(
          "stopped after step %,d of %,d; saved %s; --resume goes on%n",
          outcome.step(), steps, outcome.checkpoint());
    }
  }
}
