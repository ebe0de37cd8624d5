package org.eellm.distributed.launch;

import java.util.Optional;
import org.eellm.distributed.launch.RankInfo.StoreHost;

/**
 * A pod of a Kubernetes indexed Job, one rank a pod: Kubernetes gives its index, and the Job's
 * manifest the rest (deploy/kubernetes).
 */
final class KubernetesEnvironment {
  private static final String RANK = "JOB_COMPLETION_INDEX";
  private static final String SIZE = "EELLM_WORLD_SIZE";
  private static final String HOST = "EELLM_MASTER_ADDR";
  private static final String PORT = "EELLM_MASTER_PORT";

  private KubernetesEnvironment() {}

  static Optional<RankInfo> detect(EnvironmentVariables environment) {
    if (!environment.has(RANK)) {
      return Optional.empty();
    }
    int rank = environment.requireNumber(RANK, RANK);
    int size = environment.requireNumber(SIZE, RANK);
    environment.requireBelow(RANK, rank, SIZE, size);
    return Optional.of(
        new RankInfo(
            rank,
            size,
            0,
            1,
            size == 1 ? LocalLauncher.LOOPBACK : environment.requireText(HOST, RANK),
            environment.port(PORT, HOST),
            new StoreHost.RankZero()));
  }
}
