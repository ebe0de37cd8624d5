package org.eellm.distributed.mesh;

import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.eellm.distributed.DistributedException;

/**
 * Ranks in three dimensions. Tensor-parallel neighbours, which talk most, have neighbouring ranks;
 * pipeline stages, which talk least, lie farthest apart: {@code rank = (pp * DP + dp) * TP + tp}.
 *
 * @param tp tensor-parallel size, at least 1
 * @param dp data-parallel size, at least 1
 * @param pp number of pipeline stages, at least 1
 */
public record Mesh(int tp, int dp, int pp) {
  /** A single rank. */
  public static final Mesh ONE = new Mesh(1, 1, 1);

  public Mesh {
    if (tp < 1 || dp < 1 || pp < 1) {
      throw new DistributedException(
          "mesh: tp " + tp + ", dp " + dp + ", pp " + pp + ": use at least 1 for each");
    }
  }

  /** How many ranks there are. */
  public int size() {
    return Math.multiplyExact(Math.multiplyExact(tp, dp), pp);
  }

  /**
   * Refuses any other number of ranks than the mesh has.
   *
   * @throws MeshSizeException with a mesh that would fit
   */
  public void requireSize(int ranks) {
    if (ranks != size()) {
      int replica = Math.multiplyExact(tp, pp);
      String remedy =
          ranks % replica == 0
              ? "make dp %d, or start %d".formatted(ranks / replica, size())
              : "start %d, or any multiple of tp x pp = %d with another dp"
                  .formatted(size(), replica);
      throw new MeshSizeException(
          "the mesh %s has %d ranks, but %d are started; %s"
              .formatted(this, size(), ranks, remedy));
    }
  }

  /** Where {@code rank} is. */
  public Coordinate coordinate(int rank) {
    Objects.checkIndex(rank, size());
    return new Coordinate(rank % tp, rank / tp % dp, rank / (tp * dp));
  }

  /** Which rank is at {@code coordinate}. */
  public int rank(Coordinate coordinate) {
    return (Objects.checkIndex(coordinate.pp(), pp) * dp + Objects.checkIndex(coordinate.dp(), dp))
            * tp
        + Objects.checkIndex(coordinate.tp(), tp);
  }

  /** A rank's name in messages: {@code rank 3 (tp 1, dp 0, pp 1)}. */
  public String name(int rank) {
    return "rank " + rank + " (" + coordinate(rank) + ")";
  }

  /** The ranks that share {@code at}'s stage and data-parallel place, by {@code tp}. */
  public List<Integer> alongTp(Coordinate at) {
    return ranks(other -> other.dp() == at.dp() && other.pp() == at.pp());
  }

  /** The ranks that hold the same parameters as {@code at}, by {@code dp}. */
  public List<Integer> alongDp(Coordinate at) {
    return ranks(other -> other.tp() == at.tp() && other.pp() == at.pp());
  }

  /** The ranks of {@code at}'s pipeline, by stage. */
  public List<Integer> alongPp(Coordinate at) {
    return ranks(other -> other.tp() == at.tp() && other.dp() == at.dp());
  }

  /** The ranks whose place meets a condition, in ascending order. */
  public List<Integer> ranks(Predicate<Coordinate> condition) {
    return IntStream.range(0, size())
        .filter(rank -> condition.test(coordinate(rank)))
        .boxed()
        .toList();
  }

  /** Such as {@code tp 2 x dp 1 x pp 4}. */
  @Override
  public String toString() {
    return "tp " + tp + " x dp " + dp + " x pp " + pp;
  }
}
