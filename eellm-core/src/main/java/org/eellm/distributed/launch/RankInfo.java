package org.eellm.distributed.launch;

import java.util.Map;
import java.util.Optional;
import org.eellm.distributed.DistributedException;

/**
 * Which of how many ranks this process is, and where they meet.
 *
 * @param rank from 0
 * @param size ranks in all
 * @param localRank number among the ranks on this machine, from 0
 * @param localWorldSize ranks on this machine
 * @param host where the store is hosted: usually rank 0's machine
 * @param port of the store
 * @param storeHost who hosts the store
 */
public record RankInfo(
    int rank,
    int size,
    int localRank,
    int localWorldSize,
    String host,
    int port,
    StoreHost storeHost) {

  /** A process that nobody started with others. */
  public static final RankInfo ALONE =
      new RankInfo(0, 1, 0, 1, LocalLauncher.LOOPBACK, 0, new StoreHost.RankZero());

  /** Who hosts the rendezvous store. */
  public sealed interface StoreHost {
    /** The process of rank 0. */
    record RankZero() implements StoreHost {}

    /**
     * The program that started the ranks, as torchrun does.
     *
     * @param attempt how often they have been started again: the store is the same
     */
    record Launcher(int attempt) implements StoreHost {}
  }

  /**
   * The place that this process was given by whatever started it: torchrun (and {@link
   * LocalLauncher}), Open MPI's mpirun, Slurm's srun, or a Kubernetes indexed Job. The first of
   * these that has left its variables counts, for they may be nested in that order.
   *
   * @return empty if none has
   * @throws DistributedException if variables are missing or contradict each other; names them
   */
  public static Optional<RankInfo> detect(Map<String, String> environment) {
    EnvironmentVariables variables = new EnvironmentVariables(environment);
    return TorchrunEnvironment.detect(variables)
        .or(() -> OpenMpiEnvironment.detect(variables))
        .or(() -> SlurmEnvironment.detect(variables))
        .or(() -> KubernetesEnvironment.detect(variables));
  }
}
