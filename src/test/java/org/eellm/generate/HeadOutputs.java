package org.eellm.generate;

import java.util.List;
import org.eellm.model.Head;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

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
    float[] all = new float[rows.length * rows[0].length];
    for (int row = 0; row < rows.length; row++) {
      System.arraycopy(rows[row], 0, all, row * rows[0].length, rows[0].length);
    }
    return new HeadLogits(exit(2), Tensors.ofFloats(all, Torch.cpu(), rows.length, rows[0].length));
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
