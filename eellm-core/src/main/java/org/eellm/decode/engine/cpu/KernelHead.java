package org.eellm.decode.engine.cpu;

import java.util.List;
import org.eellm.decode.head.UnlistedIds;
import org.eellm.kernel.vector.FloatArray;
import org.eellm.kernel.weight.PackedMatrix;

/**
 * An output head of a {@link KernelRunner}.
 *
 * @param branches before the norm
 * @param output the output matrix, or this rank's rows of it
 * @param rows of the output matrix of all ids, one by one
 * @param logits of the rows that were asked for last
 */
record KernelHead(
    List<KernelBranch> branches,
    KernelNorm norm,
    PackedMatrix output,
    EmbeddingTable rows,
    KernelLogits logits) {

  /** Scores single ids by the hidden states that a short list was scored from. */
  UnlistedIds.Scorer scorer(int hiddenSize) {
    FloatArray scratch = FloatArray.allocate(hiddenSize);
    return (row, ids) -> {
      float[] scores = new float[ids.length];
      for (int i = 0; i < ids.length; i++) {
        scores[i] = logits.scale().of(rows.times(ids[i], logits.hiddenAddress(row), scratch));
      }
      return scores;
    };
  }

  /** Bytes of its matrices, those of its branches among them. */
  long bytes() {
    long bytes = output.bytes();
    for (int i = 0; i < branches.size(); i++) {
      bytes += branches.get(i).bytes(1);
    }
    return bytes;
  }
}
