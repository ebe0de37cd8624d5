package org.eellm.distributed.mesh;

/**
 * A rank's place on the three axes of a {@link Mesh}.
 *
 * @param tp place among the ranks that share a layer's matrices
 * @param dp place among the ranks that hold the same parameters
 * @param pp pipeline stage
 */
public record Coordinate(int tp, int dp, int pp) {

  /** Such as {@code tp 1, dp 0, pp 1}. */
  @Override
  public String toString() {
    return "tp " + tp + ", dp " + dp + ", pp " + pp;
  }
}
