package org.eellm.cli.train;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.ParallelConfig;
import org.eellm.config.RunConfig;
import org.eellm.distributed.mesh.Mesh;
import picocli.CommandLine.Option;

/** How many data-parallel replicas a run may go on with, as a mixin. */
public final class Replicas {
  @Option(
      names = "--min-replicas",
      paramLabel = "R",
      description =
          "The run may go on with fewer data-parallel replicas than parallel.dp, but R or more,"
              + " with the same batches: as many as ranks are started. With --nproc and"
              + " --max-restarts, each restart has fewer.")
  private Optional<Integer> least = Optional.empty();

  /**
   * A run with all replicas, and with each smaller number of them that may be and can share out the
   * batch, descending.
   *
   * @throws ConfigException if the least number cannot be
   */
  List<RunConfig> of(RunConfig all) {
    int most = all.parallel().dp();
    int fewest = least.orElse(most);
    if (fewest < 1 || fewest > most) {
      throw new ConfigException(
          "--min-replicas: %d is outside 1..%d (parallel.dp)".formatted(fewest, most));
    }
    List<RunConfig> possible = new ArrayList<>(List.of(all));
    for (int replicas = most - 1; replicas >= fewest; replicas--) {
      try {
        possible.add(all.withParallel(all.parallel().withDp(replicas)));
      } catch (ConfigException e) {
        if (replicas == fewest) {
          throw new ConfigException("--min-replicas: " + fewest + ": " + e.getMessage(), e);
        }
      }
    }
    return possible;
  }

  /** The one of some runs that so many ranks make; the first if none, which says what is wrong. */
  static RunConfig onRanks(List<RunConfig> possible, int ranks) {
    return possible.stream()
        .filter(run -> mesh(run).size() == ranks)
        .findFirst()
        .orElse(possible.getFirst());
  }

  /** The mesh that a run asks for. */
  public static Mesh mesh(RunConfig run) {
    ParallelConfig parallel = run.parallel();
    return new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp());
  }
}
