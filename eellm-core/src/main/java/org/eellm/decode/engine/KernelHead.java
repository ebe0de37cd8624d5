package org.eellm.decode.engine;

import java.util.List;
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
    RowNorm norm,
    PackedMatrix output,
    EmbeddingTable rows,
    KernelLogits logits) {

  /** Bytes of its matrices, those of its branches among them. */
  long bytes() {
    long bytes = output.bytes();
    for (int i = 0; i < branches.size(); i++) {
      bytes += branches.get(i).bytes();
    }
    return bytes;
  }
}
