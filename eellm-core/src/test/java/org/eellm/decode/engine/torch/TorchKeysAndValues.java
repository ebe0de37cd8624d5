package org.eellm.decode.engine.torch;

import java.util.Objects;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/** Keys and values in the memory of a {@link TorchRunner}. */
public final class TorchKeysAndValues {
  private TorchKeysAndValues() {}

  /** Keys of all heads at a position, then values, [2 heads, width], of an attention that ran. */
  public static float[] read(TorchRunner runner, int attention, int page, int offset) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) {
      return Tensors.toFloats(
          Objects.requireNonNull(runner.cache.memory.get(attention))
              .select(1, page * (long) ModelRunner.PAGE + offset)
              .to(ScalarType.Float));
    }
  }
}
