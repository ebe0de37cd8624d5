package org.eellm.kernel.matmul;

/**
 * The loops of a product of a few rows with a few vectors of outputs whose weights have scales for
 * groups of inputs. {@link GroupTiles} writes one for each number of rows and vectors.
 */
@FunctionalInterface
interface GroupTile {

  /**
   * Multiplies.
   *
   * @param w address of the first group's first weights of the first output
   * @param scales address of the first output's scale in the first group
   * @param groups how many there are
   * @param x rows as {@link QuantizedInput} has them
   * @param at where the first row begins
   * @param units from a row of x to the next
   * @param y address of the first output of the first row
   * @param rowBytes from a row of y to the next
   */
  void run(long w, long scales, int groups, float[] x, int at, int units, long y, long rowBytes);
}
