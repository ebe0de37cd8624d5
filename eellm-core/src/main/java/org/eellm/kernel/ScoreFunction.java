package org.eellm.kernel;

/**
 * What a query's product with a key becomes before the softmax.
 *
 * @param scale it is multiplied by
 * @param softcap c of {@code c tanh(score / c)}, which is then taken; 0 for none
 */
public record ScoreFunction(float scale, float softcap) {

  /** One over the root of a head's width, and no more. */
  public static ScoreFunction plain(int width) {
    return new ScoreFunction((float) (1 / Math.sqrt(width)), 0);
  }
}
