package org.eellm.kernel;

import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeInts;

/**
 * The arithmetic of {@link PagedAttention} on a tile of rows: a group of positions at a time, with
 * a running maximum and sum in place of a matrix of scores. All give the same numbers to the bit.
 * Keeps a tile's queries, weights and sums; belongs to one thread.
 */
sealed interface AttentionKernel extends AutoCloseable permits VectorAttention, MachineAttention {
  /** In place of a page that is replaced. */
  int NONE = -1;

  /** Rows of a tile, at most. */
  int rows();

  /**
   * Begins a tile.
   *
   * @param queries [count, width] from {@code at} on; products are divided by the root of the width
   */
  void begin(FloatArray queries, int at, int count);

  /**
   * Sums up the values of the positions that each row of the tile sees, times the exponentials of
   * their scores.
   *
   * @param pages of the sequence
   * @param first address of page 0
   * @param pageBytes from a page to the next
   * @param limits how many positions rows see, ascending
   * @param from the tile's first row among the limits
   * @param count rows of the tile
   */
  void sum(NativeInts pages, long first, long pageBytes, NativeInts limits, int from, int count);

  /**
   * From now on another page stands for one of the sequence, in tiles of one row.
   *
   * @param page its place in the sequence, or {@link #NONE}
   */
  void replace(int page, long address);

  /** Writes a row's sums over its total, [width] from {@code to} on. */
  void divide(int row, float[] out, int to);

  @Override
  void close();
}
