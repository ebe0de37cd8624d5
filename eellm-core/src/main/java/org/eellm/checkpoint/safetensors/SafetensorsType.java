package org.eellm.checkpoint.safetensors;

import java.util.Arrays;
import java.util.Optional;
import java.util.stream.Collectors;

/** The number formats a safetensors file may hold, by the names its header uses. */
public enum SafetensorsType {
  BOOL(8),
  F4(4),
  F6_E2M3(6),
  F6_E3M2(6),
  U8(8),
  I8(8),
  F8_E5M2(8),
  F8_E4M3(8),
  F8_E8M0(8),
  F8_E4M3FNUZ(8),
  F8_E5M2FNUZ(8),
  I16(16),
  U16(16),
  F16(16),
  BF16(16),
  I32(32),
  U32(32),
  F32(32),
  C64(64),
  F64(64),
  I64(64),
  U64(64);

  private final int bits;

  SafetensorsType(int bits) {
    this.bits = bits;
  }

  /** Size of one element in bits; elements smaller than a byte are packed. */
  public int bits() {
    return bits;
  }

  static Optional<SafetensorsType> named(String name) {
    return Arrays.stream(values()).filter(type -> type.name().equals(name)).findAny();
  }

  static String known() {
    return Arrays.stream(values()).map(Enum::name).collect(Collectors.joining(", "));
  }

  /**
   * Bytes that a tensor of this type and shape takes.
   *
   * @throws ArithmeticException if the size is beyond a long or ends within a byte
   */
  public long byteSize(Iterable<Long> shape) {
    long elements = 1;
    for (long length : shape) {
      elements = Math.multiplyExact(elements, length);
    }
    long size = Math.multiplyExact(elements, bits);
    if (size % 8 != 0) {
      throw new ArithmeticException("its " + size + " bits are no whole number of bytes");
    }
    return size / 8;
  }
}
