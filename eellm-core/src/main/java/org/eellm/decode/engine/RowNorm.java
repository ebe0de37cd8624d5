package org.eellm.decode.engine;

import org.eellm.kernel.Norms;
import org.eellm.kernel.product.RowArithmetic;

/** A norm over rows of float32 numbers. */
sealed interface RowNorm {

  /**
   * Norms a row.
   *
   * @param x its address
   */
  void apply(long x, float[] out);

  record Rms(float[] weight, double epsilon) implements RowNorm {
    @Override
    public void apply(long x, float[] out) {
      Norms.rms(x, weight, epsilon, out);
    }

    /** The same in place. */
    void apply(float[] x, int from) {
      Norms.rms(x, from, weight, epsilon);
    }
  }

  record Layer(float[] weight, float[] bias, double epsilon) implements RowNorm {
    @Override
    public void apply(long x, float[] out) {
      Norms.layer(x, weight, bias, epsilon, out);
    }
  }

  /** No norm. */
  record None(int width) implements RowNorm {
    @Override
    public void apply(long x, float[] out) {
      RowArithmetic.read(x, out, 0, width);
    }
  }
}
