package org.eellm.distributed.mesh;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

/** Ranks and coordinates. */
final class MeshTest {
  @Test
  void rank_countsTensorParallelFastestAndStagesSlowest() {
    Mesh mesh = new Mesh(2, 5, 3, 4);

    assertThat(mesh.size()).isEqualTo(120);
    assertThat(mesh.rank(new Coordinate(1, 0, 0, 0))).isEqualTo(1);
    assertThat(mesh.rank(new Coordinate(0, 1, 0, 0))).isEqualTo(2);
    assertThat(mesh.rank(new Coordinate(0, 0, 1, 0))).isEqualTo(10);
    assertThat(mesh.rank(new Coordinate(0, 0, 0, 1))).isEqualTo(30);
  }

  @Test
  void coordinate_isTheInverseOfRank() {
    Mesh mesh = new Mesh(2, 5, 3, 4);

    for (int rank = 0; rank < mesh.size(); rank++) {
      assertThat(mesh.rank(mesh.coordinate(rank))).isEqualTo(rank);
    }
  }

  @Test
  void name_givesAllCoordinates() {
    assertThat(new Mesh(2, 1, 2).name(3)).isEqualTo("rank 3 (tp 1, dp 0, pp 1)");
    assertThat(new Mesh(2, 2, 1, 2).name(7)).isEqualTo("rank 7 (tp 1, cp 1, dp 0, pp 1)");
  }

  @Test
  void alongDp_isOverAllThatHaveTheSameParameters() {
    Mesh mesh = new Mesh(2, 2, 2, 2);

    assertThat(mesh.alongDp(mesh.coordinate(9))).containsExactly(9, 11, 13, 15);
    assertThat(mesh.alongCp(mesh.coordinate(9))).containsExactly(9, 11);
    assertThat(mesh.alongPp(mesh.coordinate(9))).containsExactly(1, 9);
  }

  @Test
  void new_withoutRanks_isRefused() {
    assertThatThrownBy(() -> new Mesh(1, 0, 1))
        .hasMessage("mesh: tp 1, cp 1, dp 0, pp 1: use at least 1 for each");
  }

  @Test
  void requireSize_ofAnotherSize_saysWhatWouldFit() {
    Mesh mesh = new Mesh(2, 1, 2);

    mesh.requireSize(4);
    assertThatThrownBy(() -> mesh.requireSize(8)).hasMessageContaining("make dp 2, or start 4");
    assertThatThrownBy(() -> mesh.requireSize(6))
        .hasMessageContaining("has 4 ranks, but 6 are started")
        .hasMessageContaining("start 4, or any multiple of tp x pp = 4");
  }
}
