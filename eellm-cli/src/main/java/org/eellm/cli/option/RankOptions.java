package org.eellm.cli.option;

import java.util.List;
import java.util.Optional;
import java.util.function.IntUnaryOperator;
import java.util.function.Supplier;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** The options that start ranks on this machine, as a mixin; see {@link LocalRanks}. */
public final class RankOptions {
  @Option(
      names = "--nproc",
      paramLabel = "N",
      description =
          "Start N ranks on this machine, as processes; under a scheduler, with one process a"
              + " machine, on each (docs/cluster.md).")
  private Optional<Integer> count = Optional.empty();

  @Option(
      names = "--max-restarts",
      paramLabel = "K",
      description =
          "With --nproc or under a scheduler: start all ranks again when one fails, at most K"
              + " times.")
  private Optional<Integer> maxRestarts = Optional.empty();

  /**
   * How many ranks there are to be, all or some of which this process has to start; empty if it is
   * a rank itself, or alone.
   *
   * @throws ParameterException if the options contradict each other or the environment
   */
  public Optional<Integer> toLaunch(CommandSpec spec) {
    int restarts = maxRestarts.orElse(0);
    Usage.require(spec, restarts >= 0, "--max-restarts: %d is negative; use 0 or more", restarts);
    return count.isEmpty() && maxRestarts.isPresent()
        ? LocalRanks.toSupervise(spec)
        : count.flatMap(ranks -> LocalRanks.toLaunch(spec, ranks));
  }

  /** {@link LocalRanks#launch} with the restarts asked for. */
  public int launch(CommandSpec spec, int ranks, Supplier<List<String>> whenRestarted) {
    return launch(spec, _ -> ranks, whenRestarted);
  }

  /**
   * {@link LocalRanks#launch} with the restarts asked for, and another number of ranks after each.
   *
   * @param ranks by attempt; has no effect under a scheduler, which says how many there are
   */
  public int launch(
      CommandSpec spec, IntUnaryOperator ranks, Supplier<List<String>> whenRestarted) {
    return LocalRanks.launch(spec, ranks, maxRestarts.orElse(0), whenRestarted);
  }
}
