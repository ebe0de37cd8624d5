package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

final class GroupQuantizerTest {
  private static final int OUT = 70;
  private static final int IN = 133;
  private static final int BLOCK = PackedMatrix.BLOCK;

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void pack_numbersThatTheFormatHas_keepsThem(WeightFormat format) {
    Random random = new Random(1);
    int offset = format.offset();
    int peak = format == WeightFormat.INT8 ? 127 : -8;
    float[] numbers = new float[OUT * IN];
    for (int o = 0; o < OUT; o++) {
      float scale = 0;
      for (int i = 0; i < IN; i++) {
        boolean first = i % format.group() == 0;
        if (first) {
          scale = Float.float16ToFloat(Float.floatToFloat16((float) random.nextGaussian()));
        }
        numbers[o * IN + i] = scale * (first ? peak : random.nextInt(1 - offset, offset));
      }
    }
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, IN))) {
      PackedMatrix packed = pack(format, numbers, memory);
      for (int o = 0; o < OUT; o++) {
        for (int i = 0; i < IN; i++) {
          assertThat(packed.number(o, i)).isEqualTo(numbers[o * IN + i]);
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"INT8, 0.006", "INT4, 0.085"})
  void pack_normalNumbers_errsLittle(WeightFormat format, double most) {
    Random random = new Random(2);
    float[] numbers = new float[OUT * IN];
    for (int i = 0; i < numbers.length; i++) {
      numbers[i] = 0.02f * (float) random.nextGaussian();
    }
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, IN))) {
      PackedMatrix packed = pack(format, numbers, memory);
      double errors = 0;
      double squares = 0;
      for (int i = 0; i < numbers.length; i++) {
        errors += Math.pow(numbers[i] - packed.number(i / IN, i % IN), 2);
        squares += Math.pow(numbers[i], 2);
      }
      assertThat(Math.sqrt(errors / squares)).isLessThan(most);
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void pack_zerosAndOutputsBeyond_areZero(WeightFormat format) {
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, IN))) {
      PackedMatrix packed = pack(format, new float[OUT * IN], memory);
      for (int o = 0; o < 2 * BLOCK; o++) {
        for (int i = 0; i < IN; i++) {
          assertThat(packed.number(o, i)).isZero();
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void choose_someOutputs_takesThemWithTheirScales(WeightFormat format) {
    int[] outputs = {69, 3, 0, 64};
    try (RandomMatrix w = new RandomMatrix(format, OUT, IN, new Random(3));
        NativeBuffer memory =
            NativeBuffer.allocate(PackedMatrix.bytes(format, outputs.length, IN))) {
      PackedMatrix chosen = w.packed().choose(outputs, memory.address());
      for (int o = 0; o < outputs.length; o++) {
        for (int i = 0; i < IN; i++) {
          assertThat((double) chosen.number(o, i)).isEqualTo(w.number(outputs[o], i));
        }
      }
    }
  }

  private static PackedMatrix pack(WeightFormat format, float[] numbers, NativeBuffer memory) {
    PackedMatrix packed = new PackedMatrix(format, OUT, IN, memory.address());
    GroupQuantizer quantizer = new GroupQuantizer(packed);
    for (int block = 0; block < packed.blocks(); block++) {
      int rows = Math.min(BLOCK, OUT - block * BLOCK);
      float[] some = new float[rows * IN];
      System.arraycopy(numbers, block * BLOCK * IN, some, 0, some.length);
      quantizer.pack(block, some, rows);
    }
    return packed;
  }
}
