package org.eellm.kernel.machine;

import jdk.incubator.vector.IntVector;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;

/** Reads memory by the Vector API, for {@link MemoryBandwidth}. */
final class VectorReading {
  private VectorReading() {}

  static int read(long address, long bytes) {
    IntVector a = IntVector.zero(Lanes.INTS);
    IntVector b = a;
    IntVector c = a;
    IntVector d = a;
    long end = address + bytes;
    long at = address;
    for (; at <= end - MemoryBandwidth.STEP; at += MemoryBandwidth.STEP) {
      a = a.or(load(at));
      b = b.or(load(at + NativeNumbers.BYTES));
      c = c.or(load(at + 2L * NativeNumbers.BYTES));
      d = d.or(load(at + 3L * NativeNumbers.BYTES));
      a = a.or(load(at + 4L * NativeNumbers.BYTES));
      b = b.or(load(at + 5L * NativeNumbers.BYTES));
      c = c.or(load(at + 6L * NativeNumbers.BYTES));
      d = d.or(load(at + 7L * NativeNumbers.BYTES));
    }
    for (; at < end; at += NativeNumbers.BYTES) {
      a = a.or(load(at));
    }
    return a.or(b).or(c.or(d)).lane(0);
  }

  private static IntVector load(long address) {
    return IntVector.fromMemorySegment(
        Lanes.INTS, NativeNumbers.MEMORY, address, NativeNumbers.ORDER);
  }
}
