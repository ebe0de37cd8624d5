package org.eellm.kernel.vector;

import java.lang.foreign.MemorySegment;

/**
 * An array, and the same for machine code: a segment that is made once, so that no call makes one.
 *
 * @param memory all of the array
 */
public record IntArray(int[] values, MemorySegment memory) {

  /** Of an array. */
  public static IntArray of(int... values) {
    return new IntArray(values, MemorySegment.ofArray(values));
  }

  public int length() {
    return values.length;
  }
}
