package org.eellm.distributed.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.launch.RankInfo.StoreHost;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What each scheduler leaves in the environment, and what it leaves out. */
final class RankInfoTest {
  private static final Map<String, String> TORCHRUN =
      Map.of(
          "RANK", "3",
          "WORLD_SIZE", "4",
          "LOCAL_RANK", "1",
          "LOCAL_WORLD_SIZE", "2",
          "MASTER_ADDR", "node7",
          "MASTER_PORT", "29500");

  private static final Map<String, String> SLURM =
      Map.of(
          "SLURM_JOB_ID", "81",
          "SLURM_STEP_ID", "0",
          "SLURM_PROCID", "5",
          "SLURM_STEP_NUM_TASKS", "7",
          "SLURM_LOCALID", "1",
          "SLURM_NODEID", "2",
          "SLURM_STEP_NODELIST", "gpu[003-004,9],login1",
          "SLURM_STEP_TASKS_PER_NODE", "2(x3),1");

  private static final Map<String, String> OPEN_MPI =
      Map.of(
          "OMPI_COMM_WORLD_RANK", "1",
          "OMPI_COMM_WORLD_SIZE", "2",
          "OMPI_COMM_WORLD_LOCAL_RANK", "1",
          "OMPI_COMM_WORLD_LOCAL_SIZE", "2",
          "PMIX_NAMESPACE", "prterun-host-17@1");

  private static final Map<String, String> KUBERNETES =
      Map.of(
          "JOB_COMPLETION_INDEX", "1",
          "EELLM_WORLD_SIZE", "2",
          "EELLM_MASTER_ADDR", "train-0.train",
          "EELLM_MASTER_PORT", "29400");

  private static Map<String, String> with(Map<String, String> base, String name, String value) {
    Map<String, String> changed = new HashMap<>(base);
    changed.put(name, value);
    return changed;
  }

  private static Map<String, String> without(Map<String, String> base, String name) {
    Map<String, String> changed = new HashMap<>(base);
    changed.remove(name);
    return changed;
  }

  private static RankInfo detected(Map<String, String> environment) {
    return RankInfo.detect(environment).orElseThrow();
  }

  @Test
  void detect_nothing_isEmpty() {
    assertThat(RankInfo.detect(Map.of("MASTER_ADDR", "node7", "HOME", "/root"))).isEmpty();
  }

  @Test
  void detect_torchrun() {
    assertThat(RankInfo.detect(TORCHRUN))
        .contains(new RankInfo(3, 4, 1, 2, "node7", 29500, new StoreHost.RankZero()));
  }

  @Test
  void detect_torchrunWithAgentStore_meetsAtTheLauncher() {
    Map<String, String> agent = with(TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE", "True");

    assertThat(detected(agent).storeHost()).isEqualTo(new StoreHost.Launcher(0));
    assertThat(detected(with(agent, "TORCHELASTIC_RESTART_COUNT", "2")).storeHost())
        .isEqualTo(new StoreHost.Launcher(2));
  }

  @Test
  void detect_slurm() {
    RankInfo place = detected(SLURM);

    assertThat(place)
        .isEqualTo(new RankInfo(5, 7, 1, 2, "gpu003", place.port(), new StoreHost.RankZero()));
    assertThat(place.port()).isBetween(20_000, 29_999);
  }

  @Test
  void detect_slurmOnOneNode_staysOnLoopback() {
    Map<String, String> single =
        with(with(with(SLURM, "SLURM_NODEID", "0"), "SLURM_STEP_TASKS_PER_NODE", "7"), "X", "");

    assertThat(detected(single).host()).isEqualTo("127.0.0.1");
  }

  @Test
  void detect_slurmBatchScript_isNoRank() {
    assertThat(RankInfo.detect(without(SLURM, "SLURM_STEP_NUM_TASKS"))).isEmpty();
  }

  @Test
  void detect_twoJobs_haveTwoPorts() {
    assertThat(detected(SLURM).port())
        .isNotEqualTo(detected(with(SLURM, "SLURM_JOB_ID", "82")).port());
  }

  @ParameterizedTest
  @CsvSource({
    "'a,b', a",
    "'gpu[003-007,9]', gpu003",
    "'gpu[12,14-15],login1', gpu12",
    "'rack[2-3]node[07-09].cluster', rack2node07.cluster",
    "'10.0.0.[5-6]', 10.0.0.5",
  })
  void firstNode_expandsRanges(String list, String first) {
    assertThat(SlurmEnvironment.firstNode(list)).isEqualTo(first);
  }

  @Test
  void detect_openMpi_onOneHost_staysOnLoopback() {
    RankInfo place = detected(OPEN_MPI);

    assertThat(place)
        .isEqualTo(new RankInfo(1, 2, 1, 2, "127.0.0.1", place.port(), new StoreHost.RankZero()));
  }

  @Test
  void detect_openMpi_onSeveralHosts_needsTheFirst() {
    Map<String, String> several =
        with(with(OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_RANK", "0"), "OMPI_COMM_WORLD_LOCAL_SIZE", "1");

    assertThat(detected(with(several, "MASTER_ADDR", "node1")).host()).isEqualTo("node1");
    assertThatThrownBy(() -> RankInfo.detect(several))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining("OMPI_COMM_WORLD_LOCAL_SIZE=1")
        .hasMessageContaining("-x MASTER_ADDR=HOST");
  }

  @Test
  void detect_kubernetes() {
    assertThat(RankInfo.detect(KUBERNETES))
        .contains(new RankInfo(1, 2, 0, 1, "train-0.train", 29400, new StoreHost.RankZero()));
  }

  /** Two local ranks of the second of two nodes. */
  private static void assertSecondNodeSplit(String starter, Map<String, String> environment) {
    RankInfo node = detected(environment);
    StoreHost rankZero = new StoreHost.RankZero();

    assertThat(RankInfo.startedBy(environment)).contains(starter);
    assertThat(node.split(2))
        .containsExactly(
            new RankInfo(2, 4, 0, 2, "node0", node.port(), rankZero),
            new RankInfo(3, 4, 1, 2, "node0", node.port(), rankZero));
  }

  @Test
  void split_aProcessOnEachOfTwoNodes_numbersRanksByNode() {
    assertSecondNodeSplit("Kubernetes", with(KUBERNETES, "EELLM_MASTER_ADDR", "node0"));
    assertSecondNodeSplit(
        "srun",
        Map.of(
            "SLURM_JOB_ID", "81",
            "SLURM_PROCID", "1",
            "SLURM_STEP_NUM_TASKS", "2",
            "SLURM_LOCALID", "0",
            "SLURM_NODEID", "1",
            "SLURM_STEP_NODELIST", "node[0-1]",
            "SLURM_STEP_TASKS_PER_NODE", "1(x2)"));
    assertSecondNodeSplit(
        "mpirun",
        Map.of(
            "OMPI_COMM_WORLD_RANK", "1",
            "OMPI_COMM_WORLD_SIZE", "2",
            "OMPI_COMM_WORLD_LOCAL_RANK", "0",
            "OMPI_COMM_WORLD_LOCAL_SIZE", "1",
            "MASTER_ADDR", "node0"));
    assertSecondNodeSplit(
        "torchrun",
        Map.of("RANK", "1", "WORLD_SIZE", "2", "MASTER_ADDR", "node0", "MASTER_PORT", "29500"));
  }

  @Test
  void split_eightRanksOnTheLastOfThreeNodes_areTheLastEight() {
    RankInfo node =
        detected(with(with(KUBERNETES, "JOB_COMPLETION_INDEX", "2"), "EELLM_WORLD_SIZE", "3"));

    assertThat(node.split(8))
        .extracting(RankInfo::rank)
        .containsExactly(16, 17, 18, 19, 20, 21, 22, 23);
    assertThat(node.split(8))
        .extracting(RankInfo::localRank)
        .containsExactly(0, 1, 2, 3, 4, 5, 6, 7);
    assertThat(node.split(8)).allMatch(rank -> rank.size() == 24 && rank.localWorldSize() == 8);
  }

  @Test
  void split_intoOne_isThePlaceItself() {
    assertThat(detected(SLURM).split(1)).containsExactly(detected(SLURM));
  }

  @Test
  void detect_torchrunInsideSlurm_isTorchrun() {
    Map<String, String> both = new HashMap<>(SLURM);
    both.putAll(TORCHRUN);

    assertThat(RankInfo.detect(both)).isEqualTo(Optional.of(detected(TORCHRUN)));
    assertThat(RankInfo.startedBy(both)).contains("torchrun");
  }

  @Test
  void detect_partialVariables_namesWhatIsMissing() {
    assertRefused(without(TORCHRUN, "RANK"), "WORLD_SIZE=4 is set, but RANK is not");
    assertRefused(without(TORCHRUN, "WORLD_SIZE"), "RANK=3 is set, but WORLD_SIZE is not");
    assertRefused(without(TORCHRUN, "MASTER_ADDR"), "RANK=3 is set, but MASTER_ADDR is not");
    assertRefused(without(TORCHRUN, "MASTER_PORT"), "RANK=3 is set, but MASTER_PORT is not");
    assertRefused(without(TORCHRUN, "LOCAL_RANK"), "LOCAL_WORLD_SIZE=2 is set, but LOCAL_RANK");
    assertRefused(without(SLURM, "SLURM_PROCID"), "SLURM_PROCID is not");
    assertRefused(without(SLURM, "SLURM_STEP_NODELIST"), "SLURM_STEP_NODELIST is not");
    assertRefused(
        without(OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_RANK"), "OMPI_COMM_WORLD_LOCAL_RANK is not");
    assertRefused(without(KUBERNETES, "EELLM_WORLD_SIZE"), "EELLM_WORLD_SIZE is not");
    assertRefused(without(KUBERNETES, "EELLM_MASTER_ADDR"), "EELLM_MASTER_ADDR is not");
  }

  @Test
  void detect_contradictoryVariables_saysWhich() {
    assertRefused(with(TORCHRUN, "RANK", "4"), "RANK=4 is not below WORLD_SIZE=4");
    assertRefused(with(TORCHRUN, "RANK", "-1"), "RANK=-1 is not below WORLD_SIZE=4");
    assertRefused(with(TORCHRUN, "LOCAL_RANK", "2"), "LOCAL_RANK=2 is not below LOCAL_WORLD_SIZE");
    assertRefused(with(TORCHRUN, "WORLD_SIZE", "many"), "WORLD_SIZE=many is not a whole number");
    assertRefused(with(TORCHRUN, "MASTER_PORT", "70000"), "MASTER_PORT=70000 is no port");
    assertRefused(with(SLURM, "SLURM_NODEID", "4"), "says nothing of SLURM_NODEID=4");
  }

  private static void assertRefused(Map<String, String> environment, String message) {
    assertThatThrownBy(() -> RankInfo.detect(environment))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }
}
