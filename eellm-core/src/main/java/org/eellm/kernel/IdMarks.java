package org.eellm.kernel;

import org.eellm.kernel.row.RowKernel;
import org.eellm.kernel.vector.IntArray;
import org.eellm.kernel.vector.SplitMix;
import org.eellm.kernel.vector.WeightedIds;

/** Marks of the ids, a bit each, whose times may be the shortest. For one thread. */
public final class IdMarks {
  private static final int EACH = Integer.SIZE; // ids a mark

  private final IntArray marks;
  private int count;

  public IdMarks(int most) {
    marks = IntArray.allocate(room(most) / EACH);
  }

  /** How many ids a list has room for, at least, of which so many are to be marked. */
  public static int room(int count) {
    return Math.ceilDiv(count, EACH) * EACH;
  }

  /**
   * Marks the ids for which {@link #zeros} and the power are together more than a bound.
   *
   * @param list with {@link #room}
   * @param from place of the first id
   */
  public void mark(WeightedIds list, int from, int count, long key, float bound) {
    this.count = count;
    RowKernel.chosen().mark(list, from, room(count), key, bound, marks);
  }

  /** The first marked id from one on, counted from the first id that was looked at; or -1. */
  public int next(int from) {
    int word = from / EACH;
    int words = room(count) / EACH;
    if (word >= words) {
      return -1;
    }
    int bits = marks.values()[word] & -1 << from;
    while (bits == 0 && ++word < words) {
      bits = marks.values()[word];
    }
    int place = word * EACH + Integer.numberOfTrailingZeros(bits);
    return bits != 0 && place < count ? place : -1;
  }

  /** The zeros at the beginning of an id's random number of 64 bits. */
  public static int zeros(long key, int id) {
    return Long.numberOfLeadingZeros(random(key, id));
  }

  /** An id's random number: every bit is 0 or 1 with the same chance. */
  public static long random(long key, int id) {
    return SplitMix.mixed(key + SplitMix.GOLDEN * id);
  }
}
