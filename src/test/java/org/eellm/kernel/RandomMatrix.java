package org.eellm.kernel;

import java.lang.foreign.ValueLayout;
import java.util.Optional;
import java.util.Random;

/** A packed matrix of random numbers, and what they are in float64. */
final class RandomMatrix implements AutoCloseable {
  private final double[][] numbers; // [out, in]
  private final NativeBuffer memory;
  private final PackedMatrix packed;

  RandomMatrix(WeightFormat format, int out, int in, Random random) {
    numbers = new double[out][in];
    memory = NativeBuffer.allocate(PackedMatrix.bytes(format, out, in));
    int blocks = Math.ceilDiv(out, PackedMatrix.BLOCK);
    float[] scales = new float[blocks * PackedMatrix.BLOCK];
    for (int o = 0; o < out; o++) {
      scales[o] = random.nextFloat(0.001f, 0.1f);
    }
    packed =
        new PackedMatrix(
            format,
            out,
            in,
            memory.address(),
            format == WeightFormat.INT8 ? Optional.of(scales) : Optional.empty());
    long rowBytes = (long) in * format.bytes();
    try (NativeBuffer source = NativeBuffer.allocate(out * rowBytes)) {
      for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++) {
          long at = source.address() + o * rowBytes + (long) i * format.bytes();
          numbers[o][i] =
              put(format, random, at) * (double) (packed.scales().isPresent() ? scales[o] : 1);
        }
      }
      for (int block = 0; block < blocks; block++) {
        int first = block * PackedMatrix.BLOCK;
        packed.pack(
            block, source.address() + first * rowBytes, Math.min(PackedMatrix.BLOCK, out - first));
      }
    }
  }

  private static float put(WeightFormat format, Random random, long at) {
    switch (format) {
      case FLOAT32 -> {
        float number = (float) random.nextGaussian();
        Lanes.putFloat(number, at);
        return number;
      }
      case BFLOAT16 -> {
        Lanes.put((float) random.nextGaussian(), at);
        return Lanes.get(at);
      }
      case INT8 -> {
        byte number = (byte) random.nextInt(-128, 128);
        Lanes.MEMORY.set(ValueLayout.JAVA_BYTE, at, number);
        return number;
      }
    }
    throw new IllegalArgumentException();
  }

  PackedMatrix packed() {
    return packed;
  }

  double number(int output, int input) {
    return numbers[output][input];
  }

  static float[][] rows(int count, int width, Random random) {
    float[][] rows = new float[count][width];
    for (float[] row : rows) {
      for (int i = 0; i < width; i++) {
        row[i] = (float) random.nextGaussian();
      }
    }
    return rows;
  }

  static float toBfloat16(float x) {
    return Float.intBitsToFloat(Lanes.bfloat16(x) << 16);
  }

  @Override
  public void close() {
    memory.close();
  }
}
