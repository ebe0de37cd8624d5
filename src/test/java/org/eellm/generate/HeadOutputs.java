package org.eellm.generate;

import java.util.List;
import org.eellm.decode.engine.HeadOutput;
import org.eellm.decode.engine.TorchOutputs;
import org.eellm.model.Head;

/** Predictions made of given logits; of the scope they are made in. */
final class HeadOutputs {
  private HeadOutputs() {}

  static Prediction prediction(Tokens tokens, List<Prediction> earlier, float... logits) {
    return new Prediction(output(logits), 0, tokens, earlier);
  }

  static Prediction prediction(float... logits) {
    return prediction(new Tokens(List.of(0), 1), List.of(), logits);
  }

  static HeadOutput output(float[]... rows) {
    return TorchOutputs.of(exit(2), rows);
  }

  static Head exit(int layer) {
    return head("exit_" + layer, layer);
  }

  static Head last() {
    return head("final", 5);
  }

  private static Head head(String name, int layer) {
    return new Head(layer, name, layer, 2 * layer, false);
  }

  /** Logits whose softmax are these probabilities. */
  static float[] logits(double... probabilities) {
    float[] logits = new float[probabilities.length];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) Math.log(probabilities[i]) + 3;
    }
    return logits;
  }
}
