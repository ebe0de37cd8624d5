package org.eellm.decode.strategy;

/**
 * Whether guesses at a text's tokens are worth it, while heads on other ranks are asked for these.
 */
public final class Guesses {
  /** A wrong guess delays the right token by half a step on average, a right one saves one. */
  private static final double MIN_RIGHT = 1.0 / 3;

  /** The weight of one guess in the share of right ones. */
  private static final double WEIGHT = 0.1;

  private boolean wanted;
  private double right = 1; // share

  /** Tells whether there is nothing else to do meanwhile. */
  public void want(boolean now) {
    wanted = now;
  }

  boolean pay() {
    return wanted && right > MIN_RIGHT;
  }

  void add(boolean isRight) {
    right += WEIGHT * ((isRight ? 1 : 0) - right);
  }
}
