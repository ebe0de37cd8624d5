package org.eellm.kernel.vector;

import java.lang.foreign.MemorySegment;

/**
 * An array, and the same for machine code: a segment that is made once, so that no call makes one.
 */
public record FloatArray(float[] values, MemorySegment memory) {

  public static FloatArray of(float... values) {
    return new FloatArray(values, MemorySegment.ofArray(values));
  }

  public static FloatArray allocate(int length) {
    return of(new float[length]);
  }

  public int length() {
    return values.length;
  }
}
