package org.eellm.distributed.launch;

import java.util.Optional;
import org.eellm.distributed.launch.RankInfo.StoreHost;

/**
 * The variables of torchrun, which {@link LocalLauncher} sets, too, and which are easily set by
 * hand.
 */
final class TorchrunEnvironment {
  private static final String RANK = "RANK";
  private static final String SIZE = "WORLD_SIZE";
  private static final String LOCAL_RANK = "LOCAL_RANK";
  private static final String LOCAL_SIZE = "LOCAL_WORLD_SIZE";

  private TorchrunEnvironment() {}

  static Optional<RankInfo> detect(EnvironmentVariables environment) {
    if (!environment.has(RANK) && !environment.has(SIZE)) {
      return Optional.empty();
    }
    int rank = environment.requireNumber(RANK, SIZE);
    int size = environment.requireNumber(SIZE, RANK);
    environment.requireBelow(RANK, rank, SIZE, size);
    int localRank = 0;
    int localWorldSize = 1;
    if (environment.has(LOCAL_RANK) || environment.has(LOCAL_SIZE)) {
      localRank = environment.requireNumber(LOCAL_RANK, LOCAL_SIZE);
      localWorldSize = environment.requireNumber(LOCAL_SIZE, LOCAL_RANK);
      environment.requireBelow(LOCAL_RANK, localRank, LOCAL_SIZE, localWorldSize);
    }
    environment.requireText("MASTER_PORT", RANK);
    return Optional.of(
        new RankInfo(
            rank,
            size,
            localRank,
            localWorldSize,
            environment.requireText("MASTER_ADDR", RANK),
            environment.port("MASTER_PORT", RANK),
            boardHost(environment)));
  }

  private static StoreHost boardHost(EnvironmentVariables environment) {
    boolean agent =
        environment.text("TORCHELASTIC_USE_AGENT_STORE").filter("True"::equals).isPresent();
    return agent
        ? new StoreHost.Launcher(environment.number("TORCHELASTIC_RESTART_COUNT").orElse(0))
        : new StoreHost.RankZero();
  }
}
