package org.eellm.kernel;

import java.util.Random;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/** A packed matrix of random numbers, and what they are in float64. */
public final class RandomMatrix implements AutoCloseable {
  private final double[][] numbers; // [out, in]
  private final NativeBuffer memory;
  private final PackedMatrix packed;

  public RandomMatrix(WeightFormat format, int out, int in, Random random) {
    numbers = new double[out][in];
    memory = NativeBuffer.allocate(PackedMatrix.bytes(format, out, in));
    int blocks = Math.ceilDiv(out, PackedMatrix.BLOCK);
    packed = new PackedMatrix(format, out, in, memory.address());
    if (format.hasGroups()) {
      fillGroups(random);
      return;
    }
    long rowBytes = (long) in * format.bytes();
    try (NativeBuffer source = NativeBuffer.allocate(out * rowBytes)) {
      for (int o = 0; o < out; o++) {
        for (int i = 0; i < in; i++) {
          long at = source.address() + o * rowBytes + (long) i * format.bytes();
          numbers[o][i] = put(format, random, at);
        }
      }
      for (int block = 0; block < blocks; block++) {
        int first = block * PackedMatrix.BLOCK;
        packed.pack(
            block, source.address() + first * rowBytes, Math.min(PackedMatrix.BLOCK, out - first));
      }
    }
  }

  private void fillGroups(Random random) {
    WeightFormat format = packed.format();
    int group = format.group();
    byte[] all = new byte[group];
    for (int o = 0; o < packed.out(); o++) {
      for (int g = 0; g < packed.groups(); g++) {
        short scale = Float.floatToFloat16(random.nextFloat(-0.1f, 0.1f));
        for (int i = 0; i < group; i++) {
          all[i] = (byte) random.nextInt(1 << format.bits());
          if (g * group + i < packed.in()) {
            double q = (all[i] & 0xFF) - format.offset();
            numbers[o][g * group + i] = q * Float.float16ToFloat(scale);
          }
        }
        packed.putGroup(o, g, scale, all, 0);
      }
    }
  }

  private static float put(WeightFormat format, Random random, long at) {
    switch (format) {
      case FLOAT32 -> {
        float number = (float) random.nextGaussian();
        NativeNumbers.putFloat(number, at);
        return number;
      }
      case BFLOAT16 -> {
        NativeNumbers.put((float) random.nextGaussian(), at);
        return NativeNumbers.get(at);
      }
      case INT8, INT4 -> {}
    }
    throw new IllegalArgumentException();
  }

  public PackedMatrix packed() {
    return packed;
  }

  public double number(int output, int input) {
    return numbers[output][input];
  }

  public static float[][] rows(int count, int width, Random random) {
    float[][] rows = new float[count][width];
    for (float[] row : rows) {
      for (int i = 0; i < width; i++) {
        row[i] = (float) random.nextGaussian();
      }
    }
    return rows;
  }

  public static float toBfloat16(float x) {
    return Float.intBitsToFloat(NativeNumbers.bfloat16(x) << 16);
  }

  /** Rounded to 8 bits in groups, as the kernels do. */
  public static float[] toGroups(float[] x, int group) {
    float[] rounded = new float[x.length];
    for (int start = 0; start < x.length; start += group) {
      int end = Math.min(x.length, start + group);
      float most = 0;
      for (int i = start; i < end; i++) {
        most = Math.max(most, Math.abs(x[i]));
      }
      for (int i = start; i < end; i++) {
        rounded[i] = (float) Math.rint(x[i] * (127 / most)) * (most / 127);
      }
    }
    return rounded;
  }

  @Override
  public void close() {
    memory.close();
  }
}
