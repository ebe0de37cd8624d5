package org.eellm.kernel;

import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;

/** Float32 numbers in native memory. */
public record NativeFloats(NativeBuffer memory, int count) implements AutoCloseable {

  public static NativeFloats of(float... numbers) {
    NativeFloats floats =
        new NativeFloats(NativeBuffer.allocate(4L * numbers.length), numbers.length);
    for (int i = 0; i < numbers.length; i++) {
      NativeNumbers.putFloat(numbers[i], floats.address() + 4L * i);
    }
    return floats;
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
