package org.eellm.config;

/**
 * How the matrices of a model that only generates are rounded.
 *
 * @param layers the matrices of layers, and of exits' own layers
 * @param heads the output matrices
 * @param cache keys and values, which queries meet as matrices: none or 8 bits
 */
public record MatrixQuantization(Quantization layers, Quantization heads, Quantization cache) {
  /** All in the format that the model computes in. */
  public static final MatrixQuantization NONE = of(Quantization.NONE);

  public MatrixQuantization {
    if (cache == Quantization.INT4) {
      throw new IllegalArgumentException("keys and values have 8 bits at least");
    }
  }

  /** Of matrices alone: keys and values stay in the format that the model computes in. */
  public MatrixQuantization(Quantization layers, Quantization heads) {
    this(layers, heads, Quantization.NONE);
  }

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
    String matrices = layers == heads ? layers.toString() : "%s, heads %s".formatted(layers, heads);
    return cache == Quantization.NONE
        ? matrices
        : "%s, keys and values %s".formatted(matrices, cache);
  }

  /** This with keys and values in a format. */
  public MatrixQuantization withCache(Quantization format) {
    return new MatrixQuantization(layers, heads, format);
  }
}
