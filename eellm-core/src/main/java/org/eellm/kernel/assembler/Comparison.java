package org.eellm.kernel.assembler;

/** How {@code vcmpps} compares, by its number in the encoding. */
public enum Comparison {
  EQUAL(0),
  LESS(1),
  UNORDERED(3), // one is NaN
  NOT_EQUAL(4), // or one is NaN
  NOT_LESS(5), // the same
  GREATER(14);

  final int number;

  Comparison(int number) {
    this.number = number;
  }
}
