package org.eellm.kernel.weight;

/** How a file has 32 inputs of an output that share a scale, which comes first, in float16. */
public enum GroupLayout {
  /** A signed byte each, as GGUF's Q8_0. */
  BYTES(WeightFormat.INT8, 34),
  /** 8 + q: the first 16 in the lower halves of bytes, the others in the upper: GGUF's Q4_0. */
  HALVES(WeightFormat.INT4, 18);

  static final int GROUP = 32;

  private final WeightFormat format;
  private final int bytes;

  GroupLayout(WeightFormat format, int bytes) {
    this.format = format;
    this.bytes = bytes;
  }

  public WeightFormat format() {
    return format;
  }

  public int bytes() {
    return bytes;
  }

  public boolean fits(WeightFormat other) {
    return other.group() == GROUP && other.bits() >= format.bits();
  }
}
