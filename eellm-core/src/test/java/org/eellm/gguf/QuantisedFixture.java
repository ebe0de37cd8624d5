package org.eellm.gguf;

import static org.eellm.gguf.GgufFixture.buffer;

import java.nio.ByteBuffer;
import java.util.Random;

/**
 * Random groups of each quantised format, packed bit by bit as the format's description says, and
 * the numbers that they stand for.
 */
@SuppressWarnings("ArrayRecordComponent") // compared by nobody
public record QuantisedFixture(byte[] bytes, float[] values) {

  public static QuantisedFixture of(GgufType type, int groups, Random random) {
    ByteBuffer bytes = buffer(groups * type.groupBytes());
    float[] values = new float[groups * type.group()];
    for (int group = 0; group < groups; group++) {
      float[] own =
          switch (type) {
            case Q8_0 -> bytesOfEight(bytes, random);
            case Q4_0 -> small(bytes, random, 4, false);
            case Q4_1 -> small(bytes, random, 4, true);
            case Q5_0 -> small(bytes, random, 5, false);
            case Q5_1 -> small(bytes, random, 5, true);
            case Q4_K -> parts(bytes, random, 4);
            case Q5_K -> parts(bytes, random, 5);
            case Q6_K -> sixes(bytes, random);
            case F32, F16, BF16 -> throw new IllegalArgumentException(type.name());
          };
      System.arraycopy(own, 0, values, group * type.group(), own.length);
    }
    return new QuantisedFixture(bytes.array(), values);
  }

  private static float half(ByteBuffer bytes, Random random) {
    short half = Float.floatToFloat16(random.nextFloat(-0.1f, 0.1f));
    bytes.putShort(half);
    return Float.float16ToFloat(half);
  }

  private static int[] numbers(int count, int bits, Random random) {
    return random.ints(count, 0, 1 << bits).toArray();
  }

  /** scale: f16; numbers: 32 x i8; value = scale x number. */
  private static float[] bytesOfEight(ByteBuffer bytes, Random random) {
    float scale = half(bytes, random);
    float[] values = new float[32];
    for (int i = 0; i < 32; i++) {
      byte number = (byte) random.nextInt(-128, 128);
      bytes.put(number);
      values[i] = scale * number;
    }
    return values;
  }

  /**
   * scale: f16; minimum: f16 (only _1); fifth bits: u32, bit i of number i (only Q5); 16 bytes:
   * number i low, number i + 16 high. value = scale x number + minimum, or scale x (number - half
   * of the range).
   */
  private static float[] small(ByteBuffer bytes, Random random, int bits, boolean minimum) {
    float scale = half(bytes, random);
    float least = minimum ? half(bytes, random) : 0;
    int[] numbers = numbers(32, bits, random);
    if (bits == 5) {
      int fifths = 0;
      for (int i = 0; i < 32; i++) {
        fifths |= (numbers[i] >> 4) << i;
      }
      bytes.putInt(fifths);
    }
    for (int i = 0; i < 16; i++) {
      bytes.put((byte) ((numbers[i] & 15) | (numbers[i + 16] & 15) << 4));
    }
    float[] values = new float[32];
    for (int i = 0; i < 32; i++) {
      values[i] = minimum ? scale * numbers[i] + least : scale * (numbers[i] - (1 << bits - 1));
    }
    return values;
  }

  /**
   * scale of scales: f16; scale of minima: f16; 12 bytes of eight scales s and minima m of 6 bits;
   * fifth bits: 32 bytes, bit p of byte i for number i of part p (only Q5_K); 128 bytes: of two
   * parts the 32 numbers of the first low, of the second high. value = scales x s x number - minima
   * x m.
   */
  private static float[] parts(ByteBuffer bytes, Random random, int bits) {
    float scales = half(bytes, random);
    float minima = half(bytes, random);
    int[] s = numbers(8, 6, random);
    int[] m = numbers(8, 6, random);
    byte[] packed = new byte[12];
    for (int i = 0; i < 4; i++) {
      packed[i] = (byte) (s[i] | (s[i + 4] >> 4) << 6);
      packed[i + 4] = (byte) (m[i] | (m[i + 4] >> 4) << 6);
      packed[i + 8] = (byte) (s[i + 4] & 15 | (m[i + 4] & 15) << 4);
    }
    bytes.put(packed);
    int[] numbers = numbers(256, bits, random);
    if (bits == 5) {
      for (int i = 0; i < 32; i++) {
        int fifths = 0;
        for (int part = 0; part < 8; part++) {
          fifths |= (numbers[part * 32 + i] >> 4) << part;
        }
        bytes.put((byte) fifths);
      }
    }
    for (int pair = 0; pair < 4; pair++) {
      for (int i = 0; i < 32; i++) {
        int low = numbers[pair * 64 + i] & 15;
        int high = numbers[pair * 64 + 32 + i] & 15;
        bytes.put((byte) (low | high << 4));
      }
    }
    float[] values = new float[256];
    for (int i = 0; i < 256; i++) {
      values[i] = scales * s[i / 32] * numbers[i] - minima * m[i / 32];
    }
    return values;
  }

  /**
   * Two halves of 128 numbers: 64 bytes each of lower four bits, numbers 0..63 low and 64..127
   * high; then 32 bytes each of upper two bits, number i of quarter q at bits 2 q of byte i;
   * sixteen i8 scales s; scale of scales: f16. value = scale x s x (number - 32).
   */
  private static float[] sixes(ByteBuffer bytes, Random random) {
    int[] numbers = numbers(256, 6, random);
    for (int half = 0; half < 256; half += 128) {
      for (int i = 0; i < 64; i++) {
        bytes.put((byte) (numbers[half + i] & 15 | (numbers[half + 64 + i] & 15) << 4));
      }
    }
    for (int half = 0; half < 256; half += 128) {
      for (int i = 0; i < 32; i++) {
        int upper = 0;
        for (int quarter = 0; quarter < 4; quarter++) {
          upper |= (numbers[half + quarter * 32 + i] >> 4) << 2 * quarter;
        }
        bytes.put((byte) upper);
      }
    }
    byte[] s = new byte[16];
    random.nextBytes(s);
    bytes.put(s);
    float scale = half(bytes, random);
    float[] values = new float[256];
    for (int i = 0; i < 256; i++) {
      values[i] = scale * s[i / 16] * (numbers[i] - 32);
    }
    return values;
  }
}
