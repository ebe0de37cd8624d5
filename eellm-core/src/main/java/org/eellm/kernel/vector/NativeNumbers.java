package org.eellm.kernel.vector;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * Reads and writes single numbers in native memory, float32 or bfloat16. Usable without Java's
 * vector module.
 */
public final class NativeNumbers {
  public static final ByteOrder ORDER = ByteOrder.nativeOrder();

  /**
   * All native memory. With one constant segment the compiler sees that no access needs a check;
   * kernels check their tensors' shapes once instead.
   */
  public static final MemorySegment MEMORY = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

  public static final String VECTOR_MODULE = "jdk.incubator.vector";

  public static final boolean HAS_VECTORS =
      ModuleLayer.boot().findModule(VECTOR_MODULE).isPresent();

  /** Numbers that decoding takes at once: 16 with AVX-512, else 8; sums depend on it. */
  public static final int WIDTH = CpuFlags.hasAvx512() ? 16 : 8;

  public static final int BYTES = WIDTH * Float.BYTES;

  /** The alignment of native memory that vectors are read from, in bytes. */
  static final int ALIGNMENT = 64;

  private NativeNumbers() {}

  public static float get(long address) {
    return Float.intBitsToFloat(MEMORY.get(ValueLayout.JAVA_SHORT_UNALIGNED, address) << 16);
  }

  /** Stores a number as bfloat16, rounded as {@link Lanes#store} does. */
  public static void put(float x, long address) {
    MEMORY.set(ValueLayout.JAVA_SHORT_UNALIGNED, address, bfloat16(x));
  }

  /** The bits of a number as bfloat16, rounded as {@link Lanes#store} does. */
  public static short bfloat16(float x) {
    int bits = Float.floatToRawIntBits(x);
    return (short) (bits + 0x7FFF + (bits >>> 16 & 1) >>> 16);
  }

  public static void putFloat(float x, long address) {
    MEMORY.set(ValueLayout.JAVA_FLOAT_UNALIGNED, address, x);
  }

  public static float getFloat(long address) {
    return MEMORY.get(ValueLayout.JAVA_FLOAT_UNALIGNED, address);
  }
}
