package org.eellm.decode.engine.cpu;

import org.eellm.kernel.Norms;
import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.vector.NativeNumbers;

/** A norm over rows of float32 numbers. */
sealed interface KernelNorm {

  /** Norms a row. */
  void apply(long x, FloatArray out);

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

    /**
     * The sum of a row's squares.
     *
     * @param scratch at least as long as the row
     */
    float sumOfSquares(long x, FloatArray scratch) {
      FloatArithmetic.read(x, scratch.values(), 0, width());
      return FloatArithmetic.dot(x, scratch, width());
    }

    /** Norms in place one of so many parts of a row the sum of whose squares is known. */
    void applyToPart(long x, float sumOfSquares, int parts) {
      double mean = sumOfSquares / ((double) parts * width());
      float factor = (float) (1 / Math.sqrt(mean + epsilon));
      for (int i = 0; i < width(); i++) {
        long at = x + 4L * i;
        NativeNumbers.putFloat(NativeNumbers.getFloat(at) * factor * weight.values()[i], at);
      }
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

  record None(int width) implements KernelNorm {
    @Override
    public void apply(long x, FloatArray out) {
      FloatArithmetic.read(x, out.values(), 0, width);
    }
  }
}
