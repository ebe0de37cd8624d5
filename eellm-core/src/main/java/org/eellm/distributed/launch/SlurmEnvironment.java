package org.eellm.distributed.launch;

import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.RankInfo.StoreHost;

/**
 * The variables of Slurm's {@code srun}. A batch script has most of them as well, but is no rank:
 * it lacks those of the step.
 */
final class SlurmEnvironment {
  private static final String RANK = "SLURM_PROCID";
  private static final String SIZE = "SLURM_STEP_NUM_TASKS";
  private static final String LOCAL_RANK = "SLURM_LOCALID";
  private static final String NODE = "SLURM_NODEID";
  private static final String NODES = "SLURM_STEP_NODELIST";
  private static final String TASKS = "SLURM_STEP_TASKS_PER_NODE";
  private static final String JOB = "SLURM_JOB_ID";

  /** As many tasks on as many nodes: {@code 4} or {@code 4(x16)}. */
  private static final Pattern TASKS_PER_NODE = Pattern.compile("(\\d+)(?:\\(x(\\d+)\\))?");

  /** A part of a node's name that stands for several: {@code [01-03,07]}. */
  private static final Pattern RANGES = Pattern.compile("\\[([^],-]+)[^]]*]");

  private SlurmEnvironment() {}

  static Optional<RankInfo> detect(EnvironmentVariables environment) {
    if (!environment.has(SIZE)) {
      return Optional.empty();
    }
    int rank = environment.requireNumber(RANK, SIZE);
    int size = environment.requireNumber(SIZE, SIZE);
    int localRank = environment.requireNumber(LOCAL_RANK, SIZE);
    environment.requireBelow(RANK, rank, SIZE, size);
    String nodes = environment.requireText(NODES, SIZE);
    int localWorldSize =
        tasksOn(environment.requireNumber(NODE, SIZE), environment.requireText(TASKS, SIZE));
    environment.requireBelow(LOCAL_RANK, localRank, TASKS, localWorldSize);
    String job =
        environment.requireText(JOB, SIZE) + "." + environment.text("SLURM_STEP_ID").orElse("0");
    return Optional.of(
        new RankInfo(
            rank,
            size,
            localRank,
            localWorldSize,
            environment
                .text("MASTER_ADDR")
                .orElseGet(
                    () -> localWorldSize == size ? LocalLauncher.LOOPBACK : firstNode(nodes)),
            environment.port("MASTER_PORT", job),
            new StoreHost.RankZero()));
  }

  /** The first of a list such as {@code login1,gpu[003-007,9]}. */
  static String firstNode(String nodes) {
    String first = nodes.split(",(?![^\\[]*])", 2)[0];
    return RANGES.matcher(first).replaceAll("$1");
  }

  /** The tasks on the node of a number, of a list such as {@code 4(x3),2}. */
  private static int tasksOn(int node, String tasks) {
    int seen = 0;
    for (String entry : tasks.split(",")) {
      Matcher matcher = TASKS_PER_NODE.matcher(entry);
      if (!matcher.matches()) {
        break;
      }
      seen += matcher.group(2) == null ? 1 : Integer.parseInt(matcher.group(2));
      if (node < seen) {
        return Integer.parseInt(matcher.group(1));
      }
    }
    throw new DistributedException(
        "%s=%s says nothing of %s=%d; start the ranks with srun"
            .formatted(TASKS, tasks, NODE, node));
  }
}
