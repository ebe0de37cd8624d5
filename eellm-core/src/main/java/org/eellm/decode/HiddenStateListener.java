package org.eellm.decode;

/** Receives a text's hidden states. */
@FunctionalInterface
public interface HiddenStateListener {

  /**
   * The hidden state of the next position, on the thread that computes: what takes long here holds
   * all others up.
   *
   * @param position from 0
   * @param state the stream after the layer, before any norm, [hidden]; valid during the call
   */
  void onHiddenState(int position, float[] state);
}
