package org.eellm.train.objective;

import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Decoder;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.KeyStarts;

/**
 * Device copies of a microbatch's inputs, targets and mask, [b s] each: the tokens that are here.
 *
 * @param counted the mask's sum over whole sequences
 * @param starts from which key on each token sees
 */
record DeviceBatch(Tensor inputs, Tensor targets, Tensor mask, double counted, KeyStarts starts) {

  /** Copies a microbatch to where the model is. */
  static DeviceBatch of(Microbatch batch, Decoder model, RetainedTensors retained) {
    long n = batch.inputs().length;
    UnaryOperator<Tensor> own = whole -> model.ring().local(whole, batch.batch());
    return new DeviceBatch(
        retained.retain(own.apply(Tensors.ofInts(batch.inputs(), model.device(), n))),
        retained.retain(own.apply(Tensors.ofInts(batch.targets(), model.device(), n))),
        retained.retain(own.apply(Tensors.ofFloats(batch.lossMask(), model.device(), n))),
        batch.counted(),
        IntStream.of(batch.starts()).allMatch(start -> start == 0)
            ? KeyStarts.SEQUENCE
            : new KeyStarts.OfTokens(
                retained.retain(
                    own.apply(Tensors.ofInts(batch.starts(), model.device(), n))
                        .view(batch.batch(), -1))));
  }
}
