package org.eellm.kernel.vector;

/** A vector's sum of sums in plain Java, in the order of {@link Lanes#sum}. */
@FunctionalInterface
public interface LaneSum {
  /** A place's sum. */
  float of(int lane);

  /** The sum of all places: neighbours first, then neighbouring pairs, and so on. */
  default float all() {
    return some(0, NativeNumbers.WIDTH);
  }

  private float some(int first, int count) {
    return count == 1 ? of(first) : some(first, count / 2) + some(first + count / 2, count / 2);
  }
}
