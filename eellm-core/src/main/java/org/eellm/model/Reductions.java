package org.eellm.model;

import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Sums with a float32 accumulator, whatever the operand's format. */
final class Reductions {
  private static final long[] ROWS = {0};
  private static final long[] LAST = {-1};

  private Reductions() {}

  /** [n, width] to [width], float32. */
  static Tensor sumRows(Tensor x) {
    return x.sum(ROWS, false, new ScalarTypeOptional(ScalarType.Float));
  }

  /** [..., width] to [..., 1], float32. */
  static Tensor sumLast(Tensor x) {
    return x.sum(LAST, true, new ScalarTypeOptional(ScalarType.Float));
  }
}
