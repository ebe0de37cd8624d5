package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.distributed.launch.RankInfo;
import org.eellm.distributed.launch.RankInfo.StoreHost;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.rendezvous.RendezvousStore;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** Joining a world from a place, and what keeps ranks from it. */
@Timeout(60)
final class WorldTest {
  private static final Duration TIMEOUT = Duration.ofSeconds(20);
  private static final Mesh TWO = new Mesh(1, 2, 1);

  private static RankInfo place(int rank, int size, int port, StoreHost board) {
    return new RankInfo(rank, size, rank, size, LocalLauncher.LOOPBACK, port, board);
  }

  private static World connect(RankInfo place, Mesh mesh, Duration timeout) {
    return World.connect(place, mesh, timeout, InProcessRanks::transport, (_, group) -> group);
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      return socket.getLocalPort();
    }
  }

  /** The ranks' results of a sum over 2 ranks that join at {@code port}. */
  private static List<Integer> sizes(int port, StoreHost board) throws Exception {
    try (ExecutorService pool = Executors.newCachedThreadPool()) {
      List<Future<Integer>> ranks = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        int rank = i;
        Callable<Integer> join =
            () -> {
              World joined;
              try (Scope scope = Scope.open()) {
                joined = connect(place(rank, 2, port, board), TWO, TIMEOUT);
              }
              try (World world = joined) {
                return world.all().gatherBytes(new byte[0]).size() * 10 + world.dp().rank();
              }
            };
        ranks.add(pool.submit(join));
      }
      return List.of(ranks.getFirst().get(), ranks.getLast().get());
    }
  }

  @Test
  void connect_atRankZero_joins() throws Exception {
    assertThat(sizes(freePort(), new StoreHost.RankZero())).containsExactly(20, 21);
  }

  @Test
  void connect_atALaunchersBoard_isNotConfusedByTheAttemptBefore() throws Exception {
    try (RendezvousStore board = RendezvousStore.host(LocalLauncher.LOOPBACK, 0, TIMEOUT)) {
      assertThat(sizes(board.port(), new StoreHost.Launcher(0))).containsExactly(20, 21);
      assertThat(sizes(board.port(), new StoreHost.Launcher(1))).containsExactly(20, 21);
    }
  }

  @Test
  void connect_inAScope_outlivesIt() {
    List<Integer> sizes =
        InProcessRanks.run(
            new Mesh(1, 1, 2),
            world -> {
              Communicator stages;
              try (Scope scope = Scope.open()) {
                stages = world.replicasOnStages(List.of(0, 1));
              }
              stages.barrier();
              return stages.gatherBytes(new byte[1]).size();
            });

    assertThat(sizes).containsExactly(2, 2);
  }

  @Test
  void replicasOnStages_askedForAgain_areTheSameGroup() {
    List<Boolean> same =
        InProcessRanks.run(
            new Mesh(1, 1, 2),
            world -> {
              Communicator first = world.replicasOnStages(List.of(0, 1));
              first.barrier();
              return world.replicasOnStages(List.of(0, 1)) == first;
            });

    assertThat(same).containsExactly(true, true);
  }

  @Test
  void alone_inAScope_outlivesIt() {
    World world;
    try (Scope scope = Scope.open()) {
      world = World.singleRank();
    }
    try (world;
        Scope scope = Scope.open()) {
      Tensor ones = Tensors.zeros(ScalarType.Float, world.device(), 2);
      assertThat(Tensors.toFloats(ones)).containsExactly(0, 0);
    }
  }

  @Test
  void connect_ofOneRank_needsNoPort() {
    try (World world = connect(RankInfo.ALONE, Mesh.ONE, TIMEOUT)) {
      assertThat(world.all().size()).isEqualTo(1);
    }
  }

  @Test
  void connect_toAnotherMesh_saysWhatWouldFit() {
    RankInfo place = place(0, 2, 1, new StoreHost.RankZero());

    assertThatThrownBy(() -> connect(place, new Mesh(4, 1, 1), TIMEOUT))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining("has 4 ranks, but 2 are started");
  }

  @Test
  void connect_rankZeroIsAbsent_saysWhereItWasExpected() throws Exception {
    RankInfo place = place(1, 2, freePort(), new StoreHost.RankZero());

    assertThatThrownBy(() -> connect(place, TWO, Duration.ofMillis(500)))
        .isInstanceOf(DistributedException.class)
        .hasMessageContaining("rank 0 did not answer at 127.0.0.1:" + place.port());
  }

  @Test
  void connect_aRankIsMissing_isNamed() throws Exception {
    RankInfo place = place(0, 2, freePort(), new StoreHost.RankZero());

    assertThatThrownBy(() -> connect(place, TWO, Duration.ofSeconds(1)))
        .isInstanceOf(DistributedException.class)
        .hasMessageStartingWith("rank 1 (tp 0, dp 1, pp 0): not here within 1.0 s");
  }

  @Test
  void connect_portInUse_asksForAnother() throws Exception {
    try (ServerSocket taken = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      RankInfo place = place(0, 2, taken.getLocalPort(), new StoreHost.RankZero());

      assertThatThrownBy(() -> connect(place, TWO, TIMEOUT))
          .isInstanceOf(DistributedException.class)
          .hasMessageContaining("cannot listen on port " + taken.getLocalPort())
          .hasMessageContaining("MASTER_PORT");
    }
  }

  @Test
  void replicasOnStages_withoutThisRanksStage_isRefused() {
    assertThatThrownBy(
            () ->
                InProcessRanks.run(
                    new Mesh(1, 1, 2), world -> world.replicasOnStages(List.of(0)).size()))
        .hasMessageContaining("stages [0] asked for by stage 1");
  }
}
