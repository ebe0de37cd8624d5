package org.eellm.generate;

/** Hears what heads say of a text that is there already; see {@link Decoding.Score}. */
@FunctionalInterface
public interface ScoreListener {

  /**
   * A head has spoken, on the thread that computes.
   *
   * @param said valid during the call
   * @param id the token that stands there
   */
  void hear(Prediction said, int id);

  /** Hears nothing. */
  static ScoreListener none() {
    return (said, id) -> {};
  }
}
