package org.eellm.kernel.matmul;

import org.eellm.kernel.weight.WeightFormat;

/**
 * The inner loop of products in Java: of a row with {@link #OUTPUTS} outputs that lie next to each
 * other. Each output is one chain of fused multiplications in the order of the inputs; in bfloat16,
 * of each pair the second first.
 */
@FunctionalInterface
public interface Tile {
  /** Outputs at once. */
  int OUTPUTS = 16;

  /**
   * Adds the products to sums.
   *
   * @param w address of the outputs' first inputs, in groups of 32 bits
   * @param stepBytes from a group of inputs to the next
   * @param steps groups of inputs
   * @param at its first input
   * @param to the first one's place
   */
  void run(long w, long stepBytes, int steps, float[] x, int at, float[] sums, int to);

  /**
   * The one for weights of a format, by the Vector API or in plain Java, which give the same to the
   * bit. Numbers of 8 and 4 bits have the format's offset.
   */
  static Tile of(WeightFormat format, boolean vectors) {
    return switch (format) {
      case FLOAT32 -> vectors ? VectorTile::floats : ScalarTile::floats;
      case BFLOAT16 -> vectors ? VectorTile::pairs : ScalarTile::pairs;
      case INT8 -> integers(format, 0x80808080, vectors);
      case INT4 -> integers(format, 0x88888888, vectors);
    };
  }

  /** The one for bytes with a sign. */
  static Tile ofSignedBytes(boolean vectors) {
    return integers(WeightFormat.INT8, 0, vectors);
  }

  /**
   * The one for integers.
   *
   * @param signs bits that are turned over, by which the numbers have a sign
   */
  private static Tile integers(WeightFormat format, int signs, boolean vectors) {
    return vectors ? new VectorTile(format, signs) : new ScalarTile(format, signs);
  }
}
