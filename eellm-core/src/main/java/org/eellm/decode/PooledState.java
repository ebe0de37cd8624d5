package org.eellm.decode;

import org.eellm.decode.request.GenerateException;

/** A text's hidden states as one vector, put together as they come. */
public final class PooledState implements HiddenStateListener {
  private final float[] vector;
  private final int count;
  private final boolean mean;

  private PooledState(int size, int count, boolean mean) {
    vector = new float[size];
    this.count = count;
    this.mean = mean;
  }

  /** The mean of the hidden states, of so many numbers, of a text of {@code count} tokens. */
  public static PooledState mean(int size, int count) {
    return new PooledState(size, count, true);
  }

  /** The last token's, of as many. */
  public static PooledState last(int size, int count) {
    return new PooledState(size, count, false);
  }

  @Override
  public void onHiddenState(int position, float[] state) {
    if (mean) {
      for (int i = 0; i < vector.length; i++) {
        vector[i] += state[i] / count;
      }
    } else if (position == count - 1) {
      System.arraycopy(state, 0, vector, 0, vector.length);
    }
  }

  /** The vector, once all hidden states have come. */
  public float[] vector() {
    return vector;
  }

  /**
   * The vector, scaled to length 1.
   *
   * @throws GenerateException if its numbers are none
   */
  public float[] unit() {
    double squares = 0;
    for (float value : vector) {
      squares += (double) value * value;
    }
    if (!Double.isFinite(squares)) {
      throw new GenerateException(
          "the model's hidden states are not numbers; its weights are damaged, or do not fit its"
              + " configuration");
    }
    float[] unit = vector.clone();
    double length = squares == 0 ? 1 : Math.sqrt(squares);
    for (int i = 0; i < unit.length; i++) {
      unit[i] = (float) (unit[i] / length);
    }
    return unit;
  }
}
