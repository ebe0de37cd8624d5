package org.eellm.config;

/** Number format of compute weights and activations. */
public enum DataType {
  FLOAT32(4),
  BFLOAT16(2);

  private final int bytes;

  DataType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }
}
