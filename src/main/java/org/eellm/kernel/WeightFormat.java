package org.eellm.kernel;

/** How a matrix's numbers lie in memory. */
public enum WeightFormat {
  FLOAT32(Float.BYTES, 1),
  BFLOAT16(Short.BYTES, 2),
  /** With a float32 factor for every output. */
  INT8(Byte.BYTES, 4);

  private final int bytes;
  private final int inputs;

  WeightFormat(int bytes, int inputs) {
    this.bytes = bytes;
    this.inputs = inputs;
  }

  /** Bytes of a number. */
  public int bytes() {
    return bytes;
  }

  /** Consecutive inputs of an output that lie together, in 32 bits. */
  public int inputsTogether() {
    return inputs;
  }
}
