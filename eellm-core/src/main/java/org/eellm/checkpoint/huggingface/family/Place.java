package org.eellm.checkpoint.huggingface.family;

import java.util.function.IntUnaryOperator;
import org.eellm.config.ModelConfig;

/**
 * Where a family's files keep a parameter: in a tensor of its own, or in some rows of one that has
 * others too.
 *
 * @param tensor under the family's name
 * @param row of the tensor for each row of the parameter; of a vector's, element for element
 * @param transposed whether the file has a matrix as [in, out]; rows are those of [out, in]
 */
public record Place(String tensor, IntUnaryOperator row, boolean transposed) {

  /** A tensor of its own. */
  public Place(String tensor) {
    this(tensor, IntUnaryOperator.identity(), false);
  }

  /** Rows from {@code first} on, one after the other. */
  public static Place from(String tensor, int first) {
    return new Place(tensor, row -> first + row, false);
  }

  /** A parameter whose rows are here where {@code inner} tells. */
  public Place through(IntUnaryOperator inner) {
    return new Place(tensor, row.compose(inner), transposed);
  }

  /** These rows as columns, in a tensor that is [in, out]. */
  Place asColumns() {
    return new Place(tensor, row, true);
  }

  /**
   * Rows of heads in files that have those which rope rotates first, for each of ours, of which
   * elements j and j + D/2 are a pair whether it is rotated or not.
   */
  public static IntUnaryOperator rotatedFirst(ModelConfig model) {
    int width = model.headDim();
    if (model.positions().rotaryDim() == width) {
      return IntUnaryOperator.identity();
    }
    long[] order = pairOrder(model);
    return row -> row / width * width + (int) order[row % width];
  }

  /** The rows of a head, rotated ones first, in the order of our pairs. */
  public static long[] pairOrder(ModelConfig model) {
    int width = model.headDim();
    int rotated = model.positions().rotaryDim();
    int still = (width - rotated) / 2;
    long[] order = new long[width];
    for (int j = 0; j < width / 2; j++) {
      boolean isRotated = j < rotated / 2;
      order[j] = isRotated ? j : rotated + (j - rotated / 2);
      order[width / 2 + j] = isRotated ? rotated / 2 + j : rotated + still + (j - rotated / 2);
    }
    return order;
  }
}
