package org.eellm;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.train.LocalReplicas;
import org.eellm.train.Trainer;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TrainEvent;

/**
 * A training run, as {@code eellm train} does it, on this process alone.
 *
 * <pre>{@code
 * RunConfig config = ConfigFile.read(Path.of("config.yaml"), List.of("train.steps=500"));
 * TrainingRun.Outcome outcome =
 *     TrainingRun.of(config)
 *         .output(Path.of("runs/mine"))
 *         .onEvent(event -> System.out.println(event.step() + " " + event.values()))
 *         .run();
 * EarlyExitModel model = EarlyExitModel.load(outcome.checkpoint());
 * }</pre>
 *
 * <p>It needs libtorch: the artifact {@code org.eellm:eellm-libtorch}.
 */
public final class TrainingRun {
  private final RunConfig config;
  private final List<Consumer<TrainEvent>> listeners = new ArrayList<>();
  private Optional<Path> output = Optional.empty();
  private BooleanSupplier stop = () -> false;
  private boolean resumes;

  /**
   * How a run ended.
   *
   * @param step the last step taken
   * @param finished whether that was the run's last, as opposed to a request to stop
   * @param checkpoint the folder of the newest checkpoint
   */
  public record Outcome(long step, boolean finished, Path checkpoint) {}

  private TrainingRun(RunConfig config) {
    this.config = config;
  }

  /**
   * A run of a configuration, which {@link org.eellm.config.ConfigFile} reads from a file or has as
   * a preset.
   */
  public static TrainingRun of(RunConfig config) {
    return new TrainingRun(config);
  }

  /** Writes checkpoints, metrics and the configuration into a folder, which is absent or empty. */
  public TrainingRun output(Path folder) {
    output = Optional.of(folder);
    return this;
  }

  /** Goes on with the run in the folder, from its newest checkpoint. */
  public TrainingRun resume() {
    resumes = true;
    return this;
  }

  /**
   * Tells a listener of every step and evaluation, on a thread that trains. What it throws ends the
   * run.
   */
  public TrainingRun onEvent(Consumer<TrainEvent> listener) {
    listeners.add(listener);
    return this;
  }

  /** Ends the run, with a checkpoint, before the first step at which this is so. */
  public TrainingRun stopWhen(BooleanSupplier condition) {
    stop = condition;
    return this;
  }

  /**
   * Trains to the last step or until it is to stop, and returns then.
   *
   * <p>Replicas share out each micro-batch, as many as there are processors for, unless {@code
   * train.threads} is set.
   *
   * @return the last step, and where the newest checkpoint is
   * @throws SetupException if Java lacks an option, or the class path libtorch
   * @throws org.eellm.config.ConfigException if a setting cannot be honoured, or the folder is in
   *     use
   * @throws org.eellm.train.TrainException if the run fails
   * @throws IllegalStateException if there is no {@link #output}
   */
  public Outcome run() {
    Path folder =
        output.orElseThrow(
            () -> new IllegalStateException("a training run needs a folder; give output(path)"));
    JvmSetup.requireTraining();
    try {
      RunConfig here =
          resumes ? LocalReplicas.sharingAs(folder, config) : LocalReplicas.sharing(config);
      return LocalReplicas.run(here, world -> train(here, folder, world));
    } catch (UnsatisfiedLinkError e) { // the class is there, but not its natives
      throw JvmSetup.libtorchIsMissing(e);
    }
  }

  private Outcome train(RunConfig here, Path folder, World world) {
    try (Trainer trainer =
        resumes
            ? Trainer.resume(here, folder, world, false)
            : Trainer.start(here, folder, world, false)) {
      Trainer.Outcome end =
          world.rank() == 0
              ? trainer.run(event -> listeners.forEach(listener -> listener.accept(event)), stop)
              : trainer.run(MetricsSink.none(), () -> false);
      return new Outcome(end.step(), end.finished(), end.checkpoint());
    }
  }
}
