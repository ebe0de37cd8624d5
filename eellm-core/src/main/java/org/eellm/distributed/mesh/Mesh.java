package org.eellm.distributed.mesh;

import java.util.List;
import java.util.Objects;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.eellm.distributed.DistributedException;

/**
 * Ranks in four dimensions. Tensor-parallel neighbours, which talk most, have neighbouring ranks;
 * pipeline stages, which talk least, lie farthest apart: {@code rank = ((pp * DP + dp) * CP + cp) *
 * TP + tp}.
 *
 * @param tp tensor-parallel size, at least 1
 * @param cp context-parallel size, at least 1
 * @param dp data-parallel size, at least 1
 * @param pp number of pipeline stages, at least 1
 */
public record Mesh(int tp, int cp, int dp, int pp) {
  /** A single rank. */
  public static final Mesh ONE = new Mesh(1, 1, 1);

  public Mesh {
    if (tp < 1 || cp < 1 || dp < 1 || pp < 1) {
      throw new DistributedException(
          "mesh: tp %d, cp %d, dp %d, pp %d: use at least 1 for each".formatted(tp, cp, dp, pp));
    }
  }

  /** Ranks that share no sequences. */
  public Mesh(int tp, int dp, int pp) {
    this(tp, 1, dp, pp);
  }

  /** How many ranks there are. */
  public int size() {
    return Math.multiplyExact(Math.multiplyExact(tp, cp), Math.multiplyExact(dp, pp));
  }

  /**
   * Refuses any other number of ranks than the mesh has.
   *
   * @throws MeshSizeException with a mesh that would fit
   */
  public void requireSize(int ranks) {
    if (ranks != size()) {
      int replica = size() / dp;
      String remedy =
          ranks % replica == 0
              ? "make dp %d, or start %d".formatted(ranks / replica, size())
              : "start %d, or any multiple of %s = %d with another dp"
                  .formatted(size(), cp > 1 ? "tp x cp x pp" : "tp x pp", replica);
      throw new MeshSizeException(
          "the mesh %s has %d ranks, but %d are started; %s"
              .formatted(this, size(), ranks, remedy));
    }
  }

  /** Where {@code rank} is. */
  public Coordinate coordinate(int rank) {
    Objects.checkIndex(rank, size());
    return new Coordinate(rank % tp, rank / tp % cp, rank / (tp * cp) % dp, rank / (tp * cp * dp));
  }

  /** Which rank is at {@code coordinate}. */
  public int rank(Coordinate coordinate) {
    int replica =
        Objects.checkIndex(coordinate.pp(), pp) * dp + Objects.checkIndex(coordinate.dp(), dp);
    return (replica * cp + Objects.checkIndex(coordinate.cp(), cp)) * tp
        + Objects.checkIndex(coordinate.tp(), tp);
  }

  /** A rank's name in messages: {@code rank 3 (tp 1, dp 0, pp 1)}. */
  public String name(int rank) {
    Coordinate at = coordinate(rank);
    return "rank " + rank + " (" + text(at.tp(), at.cp(), at.dp(), at.pp(), ", ") + ")";
  }

  /** The ranks that share {@code at}'s layers and tokens, by {@code tp}. */
  public List<Integer> alongTp(Coordinate at) {
    return ranks(other -> other.cp() == at.cp() && other.dp() == at.dp() && other.pp() == at.pp());
  }

  /** The ranks that share {@code at}'s sequences, each with tokens of its own, by {@code cp}. */
  public List<Integer> alongCp(Coordinate at) {
    return ranks(other -> other.tp() == at.tp() && other.dp() == at.dp() && other.pp() == at.pp());
  }

  /** The ranks that hold the same parameters as {@code at}: by {@code dp}, and in it {@code cp}. */
  public List<Integer> alongDp(Coordinate at) {
    return ranks(other -> other.tp() == at.tp() && other.pp() == at.pp());
  }

  /** The ranks of {@code at}'s pipeline, by stage. */
  public List<Integer> alongPp(Coordinate at) {
    return ranks(other -> other.tp() == at.tp() && other.cp() == at.cp() && other.dp() == at.dp());
  }

  /** The ranks whose place meets a condition, in ascending order. */
  public List<Integer> ranks(Predicate<Coordinate> condition) {
    return IntStream.range(0, size())
        .filter(rank -> condition.test(coordinate(rank)))
        .boxed()
        .toList();
  }

  /** Such as {@code tp 2 x dp 1 x pp 4}; {@code cp} is told where there is some. */
  @Override
  public String toString() {
    return text(tp, cp, dp, pp, " x ");
  }

  private String text(int onTp, int onCp, int onDp, int onPp, String between) {
    String shared = cp == 1 ? "" : "cp " + onCp + between;
    return "tp " + onTp + between + shared + "dp " + onDp + between + "pp " + onPp;
  }
}
