package org.eellm.decode.engine;

import org.eellm.kernel.Norms;
import org.eellm.kernel.RowArithmetic;
import org.eellm.model.Norm;

/** A norm over rows of float32 numbers. */
sealed interface RowNorm {

  /**
   * Norms a row.
   *
   * @param x its address
   */
  void apply(long x, float[] out);

  static RowNorm of(Norm norm) {
    return switch (norm) {
      case Norm.RmsNorm rms -> new Rms(WeightReader.floats(rms.weight().value()), rms.epsilon());
      case Norm.LayerNorm layer ->
          new Layer(
              WeightReader.floats(layer.weight().value()),
              WeightReader.floats(layer.bias().value()),
              layer.epsilon());
    };
  }

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
