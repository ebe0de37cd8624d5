package org.eellm.decode.engine.cpu;

import org.eellm.kernel.Norms;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.FloatArray;

/** A norm over rows of float32 numbers. */
sealed interface KernelNorm {

  /**
   * Norms a row.
   *
   * @param x its address
   */
  void apply(long x, FloatArray out);

  /** Numbers of a row. */
  int width();

  /**
   * Norms a row in place.
   *
   * @param scratch at least as long as the row
   */
  default void applyInPlace(long x, FloatArray scratch) {
    apply(x, scratch);
    FloatArithmetic.write(scratch.values(), 0, x, width());
  }

  record Rms(FloatArray weight, double epsilon) implements KernelNorm {
    @Override
    public void apply(long x, FloatArray out) {
      Norms.rms(x, weight, epsilon, out);
    }

    @Override
    public int width() {
      return weight.length();
    }
  }

  record Layer(FloatArray weight, FloatArray bias, double epsilon) implements KernelNorm {
    @Override
    public void apply(long x, FloatArray out) {
      Norms.layer(x, weight, bias, epsilon, out);
    }

    @Override
    public int width() {
      return weight.length();
    }
  }

  /** No norm. */
  record None(int width) implements KernelNorm {
    @Override
    public void apply(long x, FloatArray out) {
      FloatArithmetic.read(x, out.values(), 0, width);
    }
  }
}
