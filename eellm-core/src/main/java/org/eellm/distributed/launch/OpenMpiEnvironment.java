package org.eellm.distributed.launch;

import java.util.Optional;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.RankInfo.StoreHost;

/** The variables of Open MPI's {@code mpirun}. MPI itself is not used. */
final class OpenMpiEnvironment {
  private static final String RANK = "OMPI_COMM_WORLD_RANK";
  private static final String SIZE = "OMPI_COMM_WORLD_SIZE";
  private static final String LOCAL_RANK = "OMPI_COMM_WORLD_LOCAL_RANK";
  private static final String LOCAL_SIZE = "OMPI_COMM_WORLD_LOCAL_SIZE";
  private static final String HOST = "MASTER_ADDR";

  private OpenMpiEnvironment() {}

  static Optional<RankInfo> detect(EnvironmentVariables environment) {
    if (!environment.has(RANK) && !environment.has(SIZE)) {
      return Optional.empty();
    }
    int rank = environment.requireNumber(RANK, SIZE);
    int size = environment.requireNumber(SIZE, RANK);
    int localRank = environment.requireNumber(LOCAL_RANK, RANK);
    int localWorldSize = environment.requireNumber(LOCAL_SIZE, RANK);
    environment.requireBelow(RANK, rank, SIZE, size);
    environment.requireBelow(LOCAL_RANK, localRank, LOCAL_SIZE, localWorldSize);
    String host =
        environment
            .text(HOST)
            .orElseGet(
                () -> {
                  if (localWorldSize < size) {
                    throw new DistributedException(
                        ("%s=%d ranks are on several hosts (%s=%d), and mpirun tells none of them"
                             + " where rank 0 is; add -x %s=HOST, with the first host of its list")
                            .formatted(SIZE, size, LOCAL_SIZE, localWorldSize, HOST));
                  }
                  return LocalLauncher.LOOPBACK;
                });
    String job = environment.text("PMIX_NAMESPACE").orElse("");
    return Optional.of(
        new RankInfo(
            rank,
            size,
            localRank,
            localWorldSize,
            host,
            environment.port("MASTER_PORT", job),
            new StoreHost.RankZero()));
  }
}
