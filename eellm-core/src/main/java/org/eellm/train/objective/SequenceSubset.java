package org.eellm.train.objective;

import java.util.stream.LongStream;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.eellm.model.Dropout;
import org.eellm.model.ForwardContext;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Tensors;

/** Which sequences of a microbatch go through a layer: all, unless layer dropout skips some. */
sealed interface SequenceSubset {
  /** Sites of dropout keys from here on decide which sequences skip a layer. */
  long LAYER_DROPOUT_SITE = 1L << 40;

  record All() implements SequenceSubset {}

  /**
   * @param index int64 [count]
   */
  record Some(Tensor index, long count) implements SequenceSubset {}

  record None() implements SequenceSubset {}

  /**
   * The sequences that the dropout of a pass lets through a layer.
   *
   * @param retained owns the index
   */
  static SequenceSubset of(
      ForwardContext context, int layer, Device device, RetainedTensors retained) {
    if (!(context.dropout() instanceof Dropout.Keyed dropout) || dropout.ofLayer(layer) == 0) {
      return new All();
    }
    long[] sequences =
        LongStream.range(0, context.batch())
            .filter(
                sequence ->
                    dropout.uniform(LAYER_DROPOUT_SITE + layer * context.batch() + sequence)
                        >= dropout.ofLayer(layer))
            .toArray();
    if (sequences.length == context.batch()) {
      return new All();
    }
    return sequences.length == 0
        ? new None()
        : new Some(
            retained.retain(Tensors.ofLongs(sequences, device, sequences.length)),
            sequences.length);
  }
}
