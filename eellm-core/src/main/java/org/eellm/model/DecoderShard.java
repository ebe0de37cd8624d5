package org.eellm.model;

import java.util.Map;
import java.util.TreeMap;
import org.eellm.config.Architecture;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.distributed.collective.Communicator;

/**
 * Which part of a model a rank holds.
 *
 * @param slices by their place in the pipeline
 * @param parallel the ranks that share the matrices
 * @param ring the ranks that share sequences in training
 * @param multiple the flat buffers' length is made a multiple of this: replicas share them out
 */
public record DecoderShard(
    Map<Integer, Slice> slices, TensorParallel parallel, ContextParallel ring, int multiple) {
  public DecoderShard {
    slices = new TreeMap<>(slices);
  }

  public static DecoderShard whole(Architecture architecture) {
    return of(StageLayout.whole(architecture).slices().getFirst());
  }

  /** A part of a pipeline of one. */
  public static DecoderShard of(Slice slice) {
    return new DecoderShard(
        Map.of(0, slice), TensorParallel.singleRank(), ContextParallel.singleRank(), 1);
  }

  /** A rank's part: every {@code stages}-th slice, from its own stage's on. */
  public static DecoderShard ofRank(
      StageLayout layout,
      Communicator stages,
      TensorParallel parallel,
      ContextParallel ring,
      int multiple) {
    Map<Integer, Slice> here = new TreeMap<>();
    for (int v = stages.rank(); v < layout.slices().size(); v += stages.size()) {
      here.put(v, layout.slices().get(v));
    }
    return new DecoderShard(here, parallel, ring, multiple);
  }
}
