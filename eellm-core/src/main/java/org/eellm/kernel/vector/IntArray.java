package org.eellm.kernel.vector;

import java.lang.foreign.MemorySegment;

/** An array of integers, and its memory for machine code, as {@link FloatArray} is of numbers. */
public record IntArray(int[] values, MemorySegment memory) {

  public static IntArray allocate(int length) {
    int[] values = new int[length];
    return new IntArray(values, MemorySegment.ofArray(values));
  }

  public int length() {
    return values.length;
  }
}
