package org.eellm.kernel;

/**
 * The arithmetic of {@link PagedAttention} on a tile of rows and a group of positions. All give the
 * same numbers to the bit. Keeps a tile's queries, weights and sums; belongs to one thread.
 */
sealed interface AttentionKernel extends AutoCloseable permits VectorAttention, MachineAttention {

  /** Rows of a tile, at most. */
  int rows();

  /**
   * Begins a tile.
   *
   * @param queries scaled, [count, width] from {@code at} on
   */
  void begin(float[] queries, int at, int count);

  /**
   * Queries times the keys of a group of positions.
   *
   * @param keys addresses of pages
   * @param within bytes from each address to the first position asked for
   * @param half whether half of the pages do
   */
  void score(long[] keys, long within, boolean half, int count);

  /**
   * Makes a row's scores exponentials of what they are below its largest so far, {@code exp(score -
   * max)}, and adds them to its total. Where max has grown, total and sums so far are made smaller.
   * Scores are first multiplied with the scales of their keys, and what is written with those of
   * the values.
   *
   * @param vectors of scores that there are
   * @param visible of the group's positions; the others weigh 0; may be none, or more than all
   * @param before the largest score before this group
   * @return max, or {@code before} where all is NaN
   */
  float weigh(int row, int vectors, int visible, float before);

  /**
   * Adds values times their weights.
   *
   * @param values address of the first
   * @param next address of the keys that are read after them
   * @param steps groups of values that lie together
   * @param position of the first in its group of positions
   * @param first whether nothing has been added yet
   */
  void mix(long values, long next, int steps, int position, boolean first, int count);

  /** Writes a row's sums over its total, [width] from {@code to} on. */
  void divide(int row, float[] out, int to);

  /** Address of the scales of a group's keys, float32; 1 unless they are written. */
  long keyScales();

  /** Address of the scales of a group's values, float32; 1 unless they are written. */
  long valueScales();

  @Override
  void close();

  /** By what earlier sums are multiplied where a larger score has come. */
  static float factor(float before, float max) {
    return (float) Math.exp(before - max);
  }
}
