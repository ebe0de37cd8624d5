package org.eellm.distributed.launch;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
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

  /** What may have started a process, by the name that users give it. */
  private record Starter(
      String name, Function<EnvironmentVariables, Optional<RankInfo>> detection) {}

  /** The first that has left its variables counts, for they may be nested in this order. */
  private static final List<Starter> STARTERS =
      List.of(
          new Starter("torchrun", TorchrunEnvironment::detect),
          new Starter("mpirun", OpenMpiEnvironment::detect),
          new Starter("srun", SlurmEnvironment::detect),
          new Starter("Kubernetes", KubernetesEnvironment::detect));

  /**
   * The place that this process was given by whatever started it: torchrun (and {@link
   * LocalLauncher}), Open MPI's mpirun, Slurm's srun, or a Kubernetes indexed Job.
   *
   * @return empty if none has
   * @throws DistributedException if variables are missing or contradict each other; names them
   */
  public static Optional<RankInfo> detect(Map<String, String> environment) {
    EnvironmentVariables variables = new EnvironmentVariables(environment);
    return STARTERS.stream()
        .flatMap(starter -> starter.detection().apply(variables).stream())
        .findFirst();
  }

  /** The name of what {@link #detect} goes by. */
  public static Optional<String> startedBy(Map<String, String> environment) {
    EnvironmentVariables variables = new EnvironmentVariables(environment);
    return STARTERS.stream()
        .filter(starter -> starter.detection().apply(variables).isPresent())
        .map(Starter::name)
        .findFirst();
  }

  /**
   * The places of so many ranks, all on this machine, where each place of the world has as many.
   */
  List<RankInfo> split(int ranks) {
    return IntStream.range(0, ranks)
        .mapToObj(
            part ->
                new RankInfo(
                    rank * ranks + part,
                    size * ranks,
                    localRank * ranks + part,
                    localWorldSize * ranks,
                    host,
                    port,
                    storeHost))
        .toList();
  }
}
