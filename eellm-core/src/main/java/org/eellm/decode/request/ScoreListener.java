package org.eellm.decode.request;

import java.io.Serializable;
import org.eellm.decode.token.Prediction;

/** Is told what heads predict of a text that is there already; see {@link DecodingMethod.Score}. */
@FunctionalInterface
public interface ScoreListener extends Serializable {

  /**
   * A head has predicted, on the thread that computes.
   *
   * @param prediction valid during the call
   * @param id the token that stands there
   */
  void onPrediction(Prediction prediction, int id);

  static ScoreListener none() {
    return (prediction, id) -> {};
  }
}
