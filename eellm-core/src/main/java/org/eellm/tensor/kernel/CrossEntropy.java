package org.eellm.tensor.kernel;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/** Softmax, cross entropy and its gradient of rows of logits, each row while it is in cache. */
public final class CrossEntropy {
  private static final int GRAIN_SIZE = 4;

  private CrossEntropy() {}

  /**
   * By row, float32 [n, 1].
   *
   * @param loss {@code logsumexp(z) - z_target}
   */
  public record Rows(Tensor loss, Tensor maxProbability) {}

  /** Whether the kernel takes {@code logits}, [n, V]. */
  public static boolean fits(Tensor logits) {
    return TensorKernels.take(logits);
  }

  /**
   * Replaces the logits by the gradient of the loss, softmax less onehot.
   *
   * @param logits [n, V]
   * @param targets int64 [n], below V
   */
  public static Rows forwardBackward(Tensor logits, Tensor targets) {
    try (Scope scope = Scope.open()) {
      long count = logits.size(0);
      int width = Math.toIntExact(logits.size(1));
      Tensor loss = Tensors.empty(ScalarType.Float, logits.device(), count, 1);
      Tensor maxProbability = Tensors.empty(ScalarType.Float, logits.device(), count, 1);
      long address = logits.data_ptr().address();
      MemorySegment target = Tensors.bytes(targets);
      MemorySegment losses = Tensors.bytes(loss);
      MemorySegment largest = Tensors.bytes(maxProbability);
      OpenMpTeam.parallelFor(
          Math.toIntExact(count),
          GRAIN_SIZE,
          (member, from, to) -> {
            float[] scratch = new float[width];
            for (int i = from; i < to; i++) {
              int wanted = (int) target.getAtIndex(ValueLayout.JAVA_LONG, i);
              long row = address + 2L * i * width;
              float max = CausalSoftmax.max(row, 0, width);
              float sum = CausalSoftmax.exponentials(row, 0, width, max, scratch);
              float difference = max - NativeNumbers.get(row + 2L * wanted);
              losses.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) (Math.log(sum) + difference));
              largest.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1 / sum);
              scratch[wanted] -= sum;
              CausalSoftmax.store(scratch, 0, width, 1 / sum, row);
            }
          });
      return new Rows(scope.moveToOuter(loss), scope.moveToOuter(maxProbability));
    }
  }
}
