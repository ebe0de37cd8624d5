package org.eellm.decode.engine.cpu;

import org.eellm.kernel.PageReader;

/** Keys and values in the memory of a {@link KernelRunner}. */
public final class KernelKeysAndValues {
  private KernelKeysAndValues() {}

  /** Keys of all heads at a position, then values, [2 heads, width]; zeros if it has not run. */
  public static float[] read(KernelRunner runner, int attention, int page, int offset) {
    KernelKeyValueCache memory = runner.memory;
    int width = memory.layout().width();
    float[][] parts = new float[2 * memory.heads][width];
    for (int head = 0; head < memory.heads; head++) {
      long at = memory.head(attention, head) + page * memory.pageBytes();
      PageReader.readKey(memory.layout(), at, offset, parts[head]);
      PageReader.readValue(memory.layout(), at, offset, parts[memory.heads + head]);
    }
    float[] all = new float[parts.length * width];
    for (int part = 0; part < parts.length; part++) {
      System.arraycopy(parts[part], 0, all, part * width, width);
    }
    return all;
  }
}
