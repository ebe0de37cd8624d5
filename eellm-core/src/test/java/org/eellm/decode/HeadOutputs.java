package org.eellm.decode;

import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.decode.engine.torch.TorchOutputs;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;

/** Predictions made of given logits; of the scope they are made in. */
public final class HeadOutputs {
  private HeadOutputs() {}

  public static Prediction prediction(Tokens tokens, List<Prediction> earlier, float... logits) {
    return new Prediction(output(logits), 0, tokens, earlier);
  }

  public static Prediction prediction(float... logits) {
    return prediction(new Tokens(List.of(0), 1), List.of(), logits);
  }

  public static HeadOutput output(float[]... rows) {
    return TorchOutputs.of(exit(2), rows);
  }

  public static Head exit(int layer) {
    return head(HeadId.exit(layer), layer);
  }

  public static Head last() {
    return head(HeadId.FINAL, 5);
  }

  private static Head head(HeadId id, int layer) {
    return new Head(layer, id, layer, 2 * layer, false);
  }

  /** Logits whose softmax are these probabilities. */
  public static float[] logits(double... probabilities) {
    float[] logits = new float[probabilities.length];
    for (int i = 0; i < logits.length; i++) {
      logits[i] = (float) Math.log(probabilities[i]) + 3;
    }
    return logits;
  }
}
