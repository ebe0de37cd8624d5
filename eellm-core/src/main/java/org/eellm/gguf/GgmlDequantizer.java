package org.eellm.gguf;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/** Makes float32 of llama.cpp's groups of quantised numbers. */
final class GgmlDequantizer {
  private static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  private static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final MemorySegment bytes;
  private final float[] values;

  private GgmlDequantizer(MemorySegment bytes, float[] values) {
    this.bytes = bytes;
    this.values = values;
  }

  /**
   * @param bytes whole groups
   * @param values as many as the groups have
   */
  static void decode(GgufType type, MemorySegment bytes, float[] values) {
    GgmlDequantizer decoder = new GgmlDequantizer(bytes, values);
    int groups = values.length / type.group();
    for (int group = 0; group < groups; group++) {
      int from = group * type.groupBytes();
      int to = group * type.group();
      switch (type) {
        case Q4_0 -> decoder.nibbles(from, to);
        case Q4_1 -> decoder.nibblesAboveMinimum(from, to);
        case Q5_0 -> decoder.fives(from, to);
        case Q5_1 -> decoder.fivesAboveMinimum(from, to);
        case Q8_0 -> decoder.signedBytes(from, to);
        case Q4_K -> decoder.parts(from, to, from + 16, -1);
        case Q5_K -> decoder.parts(from, to, from + 48, from + 16);
        case Q6_K -> decoder.sixes(from, to);
        case F32, F16, BF16 -> throw new IllegalArgumentException(type.name());
      }
    }
  }

  private int unsigned(int at) {
    return bytes.get(ValueLayout.JAVA_BYTE, at) & 0xff;
  }

  private int signed(int at) {
    return bytes.get(ValueLayout.JAVA_BYTE, at);
  }

  private float half(int at) {
    return Float.float16ToFloat(bytes.get(SHORT, at));
  }

  private void nibbles(int from, int to) {
    float scale = half(from);
    for (int i = 0; i < 16; i++) {
      int both = unsigned(from + 2 + i);
      values[to + i] = scale * ((both & 15) - 8);
      values[to + 16 + i] = scale * ((both >> 4) - 8);
    }
  }

  private void nibblesAboveMinimum(int from, int to) {
    float scale = half(from);
    float minimum = half(from + 2);
    for (int i = 0; i < 16; i++) {
      int both = unsigned(from + 4 + i);
      values[to + i] = scale * (both & 15) + minimum;
      values[to + 16 + i] = scale * (both >> 4) + minimum;
    }
  }

  private void fives(int from, int to) {
    float scale = half(from);
    for (int i = 0; i < 32; i++) {
      values[to + i] = scale * (fiveBits(from + 2, i) - 16);
    }
  }

  private void fivesAboveMinimum(int from, int to) {
    float scale = half(from);
    float minimum = half(from + 2);
    for (int i = 0; i < 32; i++) {
      values[to + i] = scale * fiveBits(from + 4, i) + minimum;
    }
  }

  /** The number i of 32: behind the fifth bits lie two fours in a byte, i and i + 16. */
  private int fiveBits(int at, int i) {
    int four = unsigned(at + 4 + i % 16) >> i / 16 * 4 & 15;
    return four | (bytes.get(INT, at) >>> i & 1) << 4;
  }

  private void signedBytes(int from, int to) {
    float scale = half(from);
    for (int i = 0; i < 32; i++) {
      values[to + i] = scale * signed(from + 2 + i);
    }
  }

  /**
   * Eight parts of 32. Behind two scales of scales lie twelve bytes of 6-bit scales and minima.
   *
   * @param low where the lower four bits of the numbers are
   * @param fifth where the fifth bits are; -1 if there are none
   */
  private void parts(int from, int to, int low, int fifth) {
    float scaleOfScales = half(from);
    float scaleOfMinima = half(from + 2);
    for (int part = 0; part < 8; part++) {
      float scale = scaleOfScales * sixBits(from + 4, part, 0);
      float minimum = scaleOfMinima * sixBits(from + 4, part, 4);
      int shift = part % 2 * 4;
      for (int i = 0; i < 32; i++) {
        int number = unsigned(low + part / 2 * 32 + i) >> shift & 15;
        if (fifth >= 0) {
          number |= (unsigned(fifth + i) >> part & 1) << 4;
        }
        values[to + part * 32 + i] = scale * number - minimum;
      }
    }
  }

  /** The scales of parts 0 to 3 are whole bytes' lower bits; of the others two bits lie above. */
  private int sixBits(int at, int part, int offset) {
    if (part < 4) {
      return unsigned(at + offset + part) & 63;
    }
    int low = unsigned(at + 4 + part) >> offset & 15;
    return low | unsigned(at + offset + part - 4) >> 6 << 4;
  }

  private void sixes(int from, int to) {
    float scaleOfScales = half(from + 208);
    for (int i = 0; i < 256; i++) {
      int inHalf = i % 128;
      int quarter = inHalf / 32;
      int low = unsigned(from + i / 128 * 64 + inHalf % 64) >> quarter / 2 * 4 & 15;
      int high = unsigned(from + 128 + i / 128 * 32 + inHalf % 32) >> 2 * quarter & 3;
      values[to + i] = scaleOfScales * signed(from + 192 + i / 16) * ((low | high << 4) - 32);
    }
  }
}
