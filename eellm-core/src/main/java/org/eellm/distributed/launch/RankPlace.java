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
 * @param localSize ranks on this machine
 * @param host where the board is that the ranks meet at: usually rank 0's machine
 * @param port of the board
 * @param board who holds the board
 */
public record RankPlace(
    int rank, int size, int localRank, int localSize, String host, int port, BoardHost board) {

  /** A process that nobody started with others. */
  public static final RankPlace ALONE =
      new RankPlace(0, 1, 0, 1, LocalLauncher.LOOPBACK, 0, new BoardHost.RankZero());

  /** Who holds the board that the ranks meet at. */
  public sealed interface BoardHost {
    /** The process of rank 0. */
    record RankZero() implements BoardHost {}

    /**
     * What started the ranks, as torchrun does.
     *
     * @param attempt how often they have been started again: the board is the same
     */
    record Launcher(int attempt) implements BoardHost {}
  }

  /**
   * What the program that started this process says of its place: torchrun (and {@link
   * LocalLauncher}), Open MPI's mpirun, Slurm's srun, or a Kubernetes indexed Job. The first of
   * these that has left its variables counts, for they may be nested in that order.
   *
   * @return empty if none has
   * @throws DistributedException if variables are missing or contradict each other; names them
   */
  public static Optional<RankPlace> detect(Map<String, String> environment) {
    Environment variables = new Environment(environment);
    return TorchrunEnvironment.place(variables)
        .or(() -> OpenMpiEnvironment.place(variables))
        .or(() -> SlurmEnvironment.place(variables))
        .or(() -> KubernetesEnvironment.place(variables));
  }
}
