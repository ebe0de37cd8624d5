package org.eellm.cost;

/** Times of operations that several ranks do together, over rings. */
public final class Collectives {
  private Collectives() {}

  /**
   * Seconds of an all-gather or a reduce-scatter; an all-reduce is both.
   *
   * @param bytes of the whole
   */
  public static double part(Hardware.Link link, int ranks, double bytes) {
    return ranks == 1 ? 0 : (ranks - 1) * link.seconds(bytes / ranks);
  }
}
