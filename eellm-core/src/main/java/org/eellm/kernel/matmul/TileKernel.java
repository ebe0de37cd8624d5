package org.eellm.kernel.matmul;

/**
 * The inner loop of a product of a few rows with a few vectors of outputs, whose sums stay in
 * registers. {@link TileKernels} writes one for each number of rows and vectors.
 *
 * <p>Input i of row r is {@code x[at + r * rowInputs + i]}. Every output is one sum in the order of
 * the inputs, so that a row's result does not depend on the rows beside it.
 */
@FunctionalInterface
public interface TileKernel {

  /**
   * Multiplies.
   *
   * @param w0 address of the first stream of weights: the first inputs of its outputs
   * @param w1 of the second, if the kernel has one, and so on
   * @param stepBytes from a group of inputs to the next, in each stream
   * @param steps groups of inputs
   * @param rowInputs from a row of x to the next
   * @param y address of the first output of the first row; those of one stream follow another's
   * @param rowBytes from a row of y to the next
   */
  void run(
      long w0,
      long w1,
      long w2,
      long w3,
      long stepBytes,
      int steps,
      float[] x,
      int at,
      int rowInputs,
      long y,
      long rowBytes);
}
