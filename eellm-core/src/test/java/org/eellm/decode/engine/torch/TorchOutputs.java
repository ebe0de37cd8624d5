package org.eellm.decode.engine.torch;

import org.bytedeco.pytorch.Tensor;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Head;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** What a head predicts, of given logits; of the scope it is made in. */
public final class TorchOutputs {
  private TorchOutputs() {}

  public static HeadOutput of(Head head, float[]... rows) {
    int width = rows[0].length;
    float[] all = new float[rows.length * width];
    for (int row = 0; row < rows.length; row++) {
      System.arraycopy(rows[row], 0, all, row * width, width);
    }
    Tensor logits = Tensors.ofFloats(all, Torch.cpu(), rows.length, width);
    return new TorchLogits(head, logits, logits);
  }
}
