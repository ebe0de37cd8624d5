package org.eellm.model.parameter;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * A named parameter, or the part of it that a rank holds.
 *
 * @param name in the Hugging Face scheme, {@code exits.{n}.*} for exit heads
 * @param shape of the part here
 * @param wholeShape of the whole parameter; the same with one tensor-parallel rank
 * @param split how the part was cut from the whole
 * @param offset of its first element in the flat buffers
 * @param requiresGrad whether it is in the flat buffers, as opposed to one that stays as it is
 * @param value view into a buffer of compute weights; int8 if quantized
 * @param scales what the rows of a quantized matrix are multiplied with, float32 [rows]
 */
public record Parameter(
    String name,
    long[] shape,
    long[] wholeShape,
    Sharding split,
    boolean requiresGrad,
    long offset,
    Tensor value,
    Optional<Tensor> scales) {
  private static final int MOST = 127; // of int8
  private static final long[] LAST = {1};
  private static final long CHUNK = 1024; // rows that are quantized at once; bounds memory

  public long numel() {
    return value.numel();
  }

  /**
   * Takes on a rank's part of a whole parameter's values, converting their number format. A
   * quantized row is scaled so that the whole row's largest number becomes 127, on all ranks.
   *
   * @param rank of the {@code ranks} that share the parameter out
   */
  public void fill(Tensor whole, int rank, int ranks) {
    if (scales.isEmpty()) {
      value.copy_(split.shard(whole, rank, ranks));
      return;
    }
    Tensor rows = split == Sharding.ROWS ? split.shard(whole, rank, ranks) : whole;
    for (long row = 0; row < rows.size(0); row += CHUNK) {
      try (Scope _ = Scope.open()) {
        long count = Math.min(CHUNK, rows.size(0) - row);
        Tensor part = rows.narrow(0, row, count).to(value.device(), ScalarType.Float);
        Tensor scale = part.abs().amax(LAST, false).div_(Tensors.scalar(MOST));
        scales.get().narrow(0, row, count).copy_(scale);
        Tensor divisor = scale.masked_fill(scale.eq(Tensors.scalar(0)), Tensors.scalar(1));
        Tensor own = split == Sharding.COLUMNS ? split.shard(part, rank, ranks) : part;
        value.narrow(0, row, count).copy_(own.div(divisor.unsqueeze(1)).round_());
      }
    }
  }

  /**
   * This parameter's part of another flat buffer with the same layout (gradients, master weights,
   * moments).
   */
  public Tensor of(Tensor flat) {
    return flat.narrow(0, offset, numel()).view(shape);
  }
}
