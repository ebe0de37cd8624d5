package org.eellm.grammar;

/** A set of bytes, 64 to a number. */
record ByteSet(long a, long b, long c, long d) {
  static final ByteSet NONE = new ByteSet(0, 0, 0, 0);

  /** The bytes from one to another, both included; unsigned. */
  static ByteSet range(int first, int last) {
    long[] words = new long[4];
    for (int each = first; each <= last; each++) {
      words[each >> 6] |= 1L << each;
    }
    return new ByteSet(words[0], words[1], words[2], words[3]);
  }

  ByteSet or(ByteSet other) {
    return new ByteSet(a | other.a, b | other.b, c | other.c, d | other.d);
  }

  ByteSet without(ByteSet other) {
    return new ByteSet(a & ~other.a, b & ~other.b, c & ~other.c, d & ~other.d);
  }

  boolean contains(int value) {
    long word = value < 128 ? value < 64 ? a : b : value < 192 ? c : d;
    return (word >>> value & 1) != 0;
  }

  int size() {
    return Long.bitCount(a) + Long.bitCount(b) + Long.bitCount(c) + Long.bitCount(d);
  }

  int lowest() {
    if (a != 0) {
      return Long.numberOfTrailingZeros(a);
    }
    if (b != 0) {
      return 64 + Long.numberOfTrailingZeros(b);
    }
    return c != 0 ? 128 + Long.numberOfTrailingZeros(c) : 192 + Long.numberOfTrailingZeros(d);
  }
}
