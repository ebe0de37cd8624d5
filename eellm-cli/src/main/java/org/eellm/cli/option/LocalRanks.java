package org.eellm.cli.option;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Function;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;
import org.eellm.cli.Main;
import org.eellm.config.TrainConfig.Device;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.DistributedBackend;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.mesh.Mesh;
import org.jline.utils.Signals;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/**
 * Ranks of a command on this machine. The process that is asked for them becomes a {@link
 * LocalLauncher} of its own command line; the ranks see that one looks after them, and {@link
 * #inWorld work in the world} instead.
 */
public final class LocalRanks {
  private static final long LOOK_NANOS = 1_000_000_000;

  private LocalRanks() {}

  /**
   * How many ranks there are to be where this process is to start its part of them, which is all
   * unless a scheduler has started it and others like it; empty if it is a rank itself.
   *
   * @param count of {@code --nproc}
   * @throws ParameterException if there are none to start, or a scheduler starts the ranks
   */
  static Optional<Integer> toLaunch(CommandSpec spec, int count) {
    Usage.requireAtLeast(spec, 1, count, "--nproc");
    if (isLaunched()) {
      return Optional.empty();
    }
    Optional<RankInfo> place = place();
    Usage.require(
        spec,
        place.filter(LocalRanks::isOfTorchrun).isEmpty(),
        "--nproc: torchrun starts the ranks of each node by itself; give it --nproc-per-node %d"
            + " instead",
        count);
    int here = place.map(RankInfo::localWorldSize).orElse(1);
    if (here > 1) {
      throw new ParameterException(
          spec.commandLine(),
          "--nproc: %s has started %d processes on this machine, a rank each; leave --nproc away, or have it start one process a machine"
              .formatted(RankInfo.startedBy(System.getenv()).orElseThrow(), here));
    }
    return Optional.of(place.map(RankInfo::size).orElse(1) * count);
  }

  /**
   * How many ranks a scheduler has started, where this process is to start its own and look after
   * it; empty if it is that rank.
   *
   * @throws ParameterException if no scheduler has started it, or one that restarts ranks itself
   */
  static Optional<Integer> toSupervise(CommandSpec spec) {
    if (isLaunched()) {
      return Optional.empty();
    }
    RankInfo place =
        place()
            .orElseThrow(
                () ->
                    new ParameterException(
                        spec.commandLine(),
                        "--max-restarts: nothing to restart; give --nproc as well, or start it"
                            + " under a scheduler (docs/cluster.md)"));
    if (isOfTorchrun(place)) {
      throw new ParameterException(
          spec.commandLine(),
          "--max-restarts: torchrun starts ranks again by itself; give it to torchrun instead");
    }
    return Optional.of(place.size());
  }

  /** The place that a scheduler gave this process. */
  private static Optional<RankInfo> place() {
    return RankInfo.detect(System.getenv());
  }

  private static boolean isOfTorchrun(RankInfo place) {
    return place.storeHost() instanceof RankInfo.StoreHost.Launcher;
  }

  /**
   * Starts this process's part of the ranks, each with this process's command line, and waits for
   * them. SIGTERM and Ctrl-C are handed on to them.
   *
   * @param ranks of all, by attempt; of the first, from {@link #toLaunch} or {@link #toSupervise}.
   *     A scheduler's stay as many
   * @param maxRestarts how often to start all ranks again after one has failed
   * @param whenRestarted more arguments for ranks that start again
   * @return the exit code
   */
  static int launch(
      CommandSpec spec,
      IntUnaryOperator ranks,
      int maxRestarts,
      Supplier<List<String>> whenRestarted) {
    RankInfo place = place().orElse(RankInfo.ALONE);
    IntUnaryOperator here =
        place.equals(RankInfo.ALONE) ? ranks : _ -> ranks.applyAsInt(0) / place.size();
    LocalLauncher launcher = LocalLauncher.ofAttempts(here, place, out(spec), err(spec));
    return run(spec, launcher, here, maxRestarts, whenRestarted);
  }

  /**
   * Starts the ranks once, for a command that talks to the user: the first rank has this process's
   * standard streams, and Ctrl-C at a terminal, which all processes get, is for it alone.
   */
  static int launchDialogue(CommandSpec spec, int ranks) {
    RankInfo place = place().orElse(RankInfo.ALONE);
    int here = ranks / place.size();
    LocalLauncher launcher = LocalLauncher.ofDialogue(here, place, out(spec), err(spec));
    return run(spec, launcher, _ -> here, 0, List::of);
  }

  /** Where ranks' lines go, in which each has escaped what it prints. */
  private static PrintWriter out(CommandSpec spec) {
    return PlainOutput.raw(spec.commandLine().getOut());
  }

  private static PrintWriter err(CommandSpec spec) {
    return PlainOutput.raw(spec.commandLine().getErr());
  }

  /** Ctrl-C at a terminal reaches all processes; what it means is for the first rank to say. */
  static void leaveInterruptsToFirstRank(World world) {
    if (isLaunched() && world.rank() > 0) {
      Signals.register("INT", () -> {});
    }
  }

  private static int run(
      CommandSpec spec,
      LocalLauncher launcher,
      IntUnaryOperator ranksHere,
      int maxRestarts,
      Supplier<List<String>> whenRestarted) {
    List<String> given = spec.root().commandLine().getParseResult().originalArgs();
    Object terminate = Signals.register("TERM", launcher::stop);
    Object interrupt = Signals.register("INT", launcher::interrupt);
    try {
      return launcher.run(
          attempt -> {
            List<String> arguments = new ArrayList<>(given);
            if (attempt > 0) {
              arguments.addAll(whenRestarted.get());
            }
            return LocalLauncher.sameProgram(
                Main.class.getName(), arguments, ranksHere.applyAsInt(attempt));
          },
          maxRestarts);
    } finally {
      Signals.unregister("TERM", terminate);
      Signals.unregister("INT", interrupt);
    }
  }

  /**
   * Does a rank's work in the world that this process was started into; see {@link
   * World#fromEnvironment}. The other ranks learn of a failure.
   */
  public static <T> T inWorld(
      Mesh mesh, Duration timeout, DistributedBackend transport, Function<World, T> work) {
    endWithLauncher();
    try (World world = World.fromEnvironment(mesh, timeout, transport)) {
      try {
        return work.apply(world);
      } catch (RuntimeException failure) {
        world.fail(failure);
        throw failure;
      }
    }
  }

  /** The backend that carries messages between ranks on a device. */
  public static DistributedBackend transport(Device device) {
    return device == Device.CUDA ? DistributedBackend.NCCL : DistributedBackend.CPU;
  }

  /** Whether a launcher of ours looks after this process. */
  static boolean isLaunched() {
    return launcher().isPresent();
  }

  private static Optional<String> launcher() {
    return Optional.ofNullable(System.getenv(LocalLauncher.VARIABLE));
  }

  /** Ranks whose launcher was killed would train on, unseen. */
  private static void endWithLauncher() {
    launcher()
        .map(Long::parseLong)
        .ifPresent(
            pid -> Thread.ofPlatform().daemon().name("eellm-launcher").start(() -> endAfter(pid)));
  }

  private static void endAfter(long pid) {
    while (ProcessHandle.of(pid).filter(ProcessHandle::isAlive).isPresent()) {
      LockSupport.parkNanos(LOOK_NANOS);
    }
    System.exit(1);
  }
}
