package org.eellm.kernel;

/** Float32 numbers in native memory. */
record NativeFloats(NativeBuffer memory, int count) implements AutoCloseable {

  static NativeFloats of(float... numbers) {
    NativeFloats floats =
        new NativeFloats(NativeBuffer.allocate(4L * numbers.length), numbers.length);
    for (int i = 0; i < numbers.length; i++) {
      Lanes.putFloat(numbers[i], floats.address() + 4L * i);
    }
    return floats;
  }

  long address() {
    return memory.address();
  }

  float[] read() {
    float[] numbers = new float[count];
    for (int i = 0; i < count; i++) {
      numbers[i] = Lanes.getFloat(address() + 4L * i);
    }
    return numbers;
  }

  @Override
  public void close() {
    memory.close();
  }
}
