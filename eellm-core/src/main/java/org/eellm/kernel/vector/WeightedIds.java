package org.eellm.kernel.vector;

/**
 * Ids, each with the logarithm of its weight to base 2.
 *
 * @param powers as many as there are ids
 */
public record WeightedIds(IntArray ids, FloatArray powers) {
  public WeightedIds {
    if (ids.length() != powers.length()) {
      throw new IllegalArgumentException(
          "%d ids have %d powers".formatted(ids.length(), powers.length()));
    }
  }

  public static WeightedIds allocate(int length) {
    return new WeightedIds(IntArray.allocate(length), FloatArray.allocate(length));
  }

  public int length() {
    return ids.length();
  }
}
