package org.eellm.kernel.vector;

/** The mixing of SplittableRandom (Steele, Lea, Flood, OOPSLA 2014). */
public final class SplitMix {
  /** Between the numbers of a sequence to be mixed. */
  public static final long GOLDEN = 0x9E3779B97F4A7C15L;

  public static final long FIRST_FACTOR = 0xBF58476D1CE4E5B9L;
  public static final long SECOND_FACTOR = 0x94D049BB133111EBL;

  private SplitMix() {}

  /** A number each of whose bits depends on each bit of the value. */
  public static long mixed(long value) {
    long x = (value ^ value >>> 30) * FIRST_FACTOR;
    x = (x ^ x >>> 27) * SECOND_FACTOR;
    return x ^ x >>> 31;
  }
}
