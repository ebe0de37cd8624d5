package org.eellm.decode.engine;

import org.eellm.decode.engine.cpu.KernelKeysAndValues;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchKeysAndValues;
import org.eellm.decode.engine.torch.TorchRunner;

/** Keys and values in a runner's memory. */
public final class KeysAndValues {
  private KeysAndValues() {}

  /**
   * Keys of all heads at a position, then values, [2 heads, width].
   *
   * @param attention 0-based layer, or {@code numLayers + exit} for the block of the exit with that
   *     0-based index
   */
  public static float[] read(ModelRunner runner, int attention, int page, int offset) {
    return switch (runner) {
      case KernelRunner own -> KernelKeysAndValues.read(own, attention, page, offset);
      case TorchRunner torch -> TorchKeysAndValues.read(torch, attention, page, offset);
      default -> throw new IllegalArgumentException(runner.getClass().getName());
    };
  }
}
