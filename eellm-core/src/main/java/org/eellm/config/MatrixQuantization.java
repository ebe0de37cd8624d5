package org.eellm.config;

/**
 * How the matrices of a model that only generates are rounded.
 *
 * @param layers the matrices of layers, and of exits' own layers
 * @param heads the output matrices
 */
public record MatrixQuantization(Quantization layers, Quantization heads) {
  /** All in the format that the model computes in. */
  public static final MatrixQuantization NONE = of(Quantization.NONE);

  /**
   * The usual one for layers of a format: output matrices, which are more sensitive, have 8 bits at
   * least.
   */
  public static MatrixQuantization of(Quantization layers) {
    Quantization usual = layers == Quantization.INT4 ? Quantization.INT8 : layers;
    return new MatrixQuantization(layers, usual);
  }

  /** The format's name, or both formats'. */
  @Override
  public String toString() {
    return layers == heads ? layers.toString() : "%s, heads %s".formatted(layers, heads);
  }
}
