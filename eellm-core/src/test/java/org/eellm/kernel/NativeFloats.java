package org.eellm.kernel;

import org.eellm.kernel.matmul.FloatArithmetic;
import org.eellm.kernel.vector.NativeNumbers;

/** Float32 numbers in native memory; nothing may touch what is behind them. */
public final class NativeFloats implements AutoCloseable {
  private final GuardedMemory memory;
  private final int count;

  private NativeFloats(int count) {
    memory = GuardedMemory.allocate(4L * count);
    this.count = count;
  }

  public static NativeFloats of(float... numbers) {
    NativeFloats floats = new NativeFloats(numbers.length);
    floats.write(numbers);
    return floats;
  }

  void write(float... numbers) {
    FloatArithmetic.write(numbers, 0, address(), count);
  }

  public long address() {
    return memory.address();
  }

  public float[] read() {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = NativeNumbers.getFloat(address() + 4L * i);
    }
    return numbers;
  }

  @Override
  public void close() {
    memory.close();
  }
}
