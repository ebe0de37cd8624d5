package org.eellm.kernel;

import org.eellm.kernel.vector.NativeInts;

/**
 * The arithmetic of {@link PagedAttention} on a tile of rows: a group of positions at a time, with
 * a running maximum and sum in place of a matrix of scores. All give the same numbers to the bit.
 * Keeps a tile's queries, weights and sums; belongs to one thread.
 *
 * <p>What is asked for may be done later, in its order, but no later than {@link #finish}.
 */
sealed interface AttentionKernel extends AutoCloseable
    permits JavaAttention, MachineAttention, NeonAttention {
  /** In place of a page that is replaced. */
  int NONE = -1;

  /** Rows of a tile, at most. */
  int rows();

  void rotate(long head, long cosines, long sines, int pairs);

  /**
   * Writes a position as {@link PagedAttention#write} says. Nothing changes the value meanwhile.
   */
  void write(long page, int offset, long key, long value);

  /** From now on rows see so many positions at most. */
  void window(int positions);

  /**
   * Takes queries into the tile.
   *
   * @param row the first one's place there
   * @param queries address of [count, width]
   */
  void take(int row, long queries, int count);

  /**
   * Sums up the values of the positions that each row of the tile sees, times the exponentials of
   * their scores.
   *
   * @param pages of the sequence
   * @param first address of page 0
   * @param pageBytes from a page to the next
   * @param limits positions up to the last one that rows see, ascending
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

  /**
   * Writes the rows' sums over their totals, and finishes.
   *
   * @param out address of [count, valueWidth]
   * @return whether all are finite
   */
  boolean divide(int count, long out);

  /** Does what has not been done. */
  default void finish() {}

  /** Forgets what has not been done, as after a failure. */
  default void forget() {}

  @Override
  default void close() {}
}
