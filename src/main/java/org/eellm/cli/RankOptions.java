package org.eellm.cli;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;
import org.eellm.distributed.LocalLauncher;
import org.eellm.distributed.Mesh;
import org.eellm.distributed.RankPlace;
import org.eellm.distributed.Transport;
import org.eellm.distributed.World;
import org.eellm.distributed.Worlds;
import org.jline.utils.Signals;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/**
 * The options that start ranks on this machine, as a mixin. The process that has them becomes a
 * {@link LocalLauncher} of its own command line; the ranks see that one looks after them, and
 * {@link #join} the world instead.
 */
final class RankOptions {
  private static final long LOOK_NANOS = 1_000_000_000;

  @Option(
      names = "--nproc",
      paramLabel = "N",
      description = "Start N ranks on this machine, as processes (docs/cluster.md).")
  private Optional<Integer> count = Optional.empty();

  @Option(
      names = "--max-restarts",
      paramLabel = "K",
      description = "With --nproc: start all ranks again when one fails, at most K times.")
  private Optional<Integer> maxRestarts = Optional.empty();

  /**
   * How many ranks this process is to start; empty if it is a rank itself, or alone.
   *
   * @throws ParameterException if the options contradict each other or the environment
   */
  Optional<Integer> toLaunch(CommandSpec spec) {
    if (count.isEmpty() && maxRestarts.isPresent()) {
      throw new ParameterException(
          spec.commandLine(), "--max-restarts: nothing to restart; give --nproc as well");
    }
    if (isLaunched() || count.isEmpty()) {
      return Optional.empty();
    }
    if (RankPlace.detect(System.getenv()).isPresent()) {
      throw new ParameterException(
          spec.commandLine(),
          "--nproc: this process is a rank of another launcher already; leave --nproc away there");
    }
    return count;
  }

  /**
   * Starts the ranks, each with this process's command line, and waits for them. SIGTERM and Ctrl-C
   * are handed on to them.
   *
   * @param ranks from {@link #toLaunch}
   * @param whenRestarted more arguments for ranks that start again
   * @return the exit code
   */
  int launch(CommandSpec spec, int ranks, Supplier<List<String>> whenRestarted) {
    PrintWriter out = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    LocalLauncher launcher = new LocalLauncher(ranks, out, err);
    List<String> given = spec.root().commandLine().getParseResult().originalArgs();
    Object terminate = Signals.register("TERM", launcher::stop);
    Object interrupt = Signals.register("INT", launcher::stop);
    try {
      return launcher.run(
          attempt -> {
            List<String> arguments = new ArrayList<>(given);
            if (attempt > 0) {
              arguments.addAll(whenRestarted.get());
            }
            return LocalLauncher.sameProgram(Main.class.getName(), arguments, ranks);
          },
          maxRestarts.orElse(0));
    } finally {
      Signals.unregister("TERM", terminate);
      Signals.unregister("INT", interrupt);
    }
  }

  /** Joins the world that this process was started into; see {@link Worlds#fromEnvironment}. */
  World join(Mesh mesh, Duration timeout, Transport transport) {
    endWithLauncher();
    return Worlds.fromEnvironment(mesh, timeout, transport);
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
