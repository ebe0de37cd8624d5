package org.eellm.bench;

/** What a step can be no faster than. */
public enum Bound {
  /** Reading weights, keys and values. */
  MEMORY("memory"),
  /** Multiplying. */
  ARITHMETIC("arithmetic");

  private final String text;

  Bound(String text) {
    this.text = text;
  }

  /** Which of two takes longer; memory where both take as long. */
  public static Bound of(double memory, double arithmetic) {
    return memory >= arithmetic ? MEMORY : ARITHMETIC;
  }

  /** In a word. */
  @Override
  public String toString() {
    return text;
  }
}
