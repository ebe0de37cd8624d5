package org.eellm.train.objective;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Decoder;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.KeyStarts;

/**
 * Device copies of a microbatch's inputs, targets and mask, [b s] each.
 *
 * @param count the mask's sum, at least 1
 * @param starts from which key on each token sees
 */
record DeviceBatch(Tensor inputs, Tensor targets, Tensor mask, double count, KeyStarts starts) {

  /** Copies a microbatch to where the model is. */
  static DeviceBatch of(Microbatch batch, Decoder model, RetainedTensors retained) {
    long n = batch.inputs().length;
    double count = 0;
    for (float value : batch.lossMask()) {
      count += value;
    }
    return new DeviceBatch(
        retained.retain(Tensors.ofInts(batch.inputs(), model.device(), n)),
        retained.retain(Tensors.ofInts(batch.targets(), model.device(), n)),
        retained.retain(Tensors.ofFloats(batch.lossMask(), model.device(), n)),
        Math.max(count, 1),
        IntStream.of(batch.starts()).allMatch(start -> start == 0)
            ? KeyStarts.SEQUENCE
            : new KeyStarts.OfDocument(
                retained.retain(
                    Tensors.ofInts(
                        batch.starts(), model.device(), batch.batch(), batch.sequence()))));
  }
}
