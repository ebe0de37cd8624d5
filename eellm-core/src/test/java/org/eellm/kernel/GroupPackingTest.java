package org.eellm.kernel;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.DecodedRows;
import org.eellm.kernel.weight.GroupLayout;
import org.eellm.kernel.weight.MatrixPacker;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightFormat;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Matrices whose inputs share scales, made of weights and of groups that a file has. */
@Tag("vectors")
final class GroupPackingTest {
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
      float[] packed = numbers(pack(format, numbers, memory));
      for (int i = 0; i < numbers.length; i++) {
        assertThat(packed[i] - numbers[i]).isZero();
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
      float[] rounded = numbers(packed);
      for (int i = 0; i < numbers.length; i++) {
        errors += Math.pow(numbers[i] - rounded[i], 2);
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
      for (float number : numbers(new PackedMatrix(format, 2 * BLOCK, IN, packed.address()))) {
        assertThat(number).isZero();
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
      float[] numbers = numbers(chosen);
      for (int o = 0; o < outputs.length; o++) {
        for (int i = 0; i < IN; i++) {
          assertThat((double) numbers[o * IN + i]).isEqualTo(w.number(outputs[o], i));
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"INT8, NaN", "INT8, Infinity", "INT4, NaN", "INT4, -Infinity"})
  void pack_weightThatIsNotFinite_leavesItsGroupNotFinite(WeightFormat format, float odd) {
    float[] numbers = new float[OUT * IN];
    numbers[IN + 40] = odd;
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, IN))) {
      float[] packed = numbers(pack(format, numbers, memory));
      for (int i = 0; i < packed.length; i++) {
        int input = i - IN;
        boolean ofGroup = input >= 32 && input < 64;
        assertThat(ofGroup || packed[i] == 0).isTrue();
      }
      assertThat(Float.isFinite(packed[IN + 40])).isFalse();
    }
  }

  @ParameterizedTest
  @CsvSource({"BYTES, INT8", "HALVES, INT4", "HALVES, INT8"})
  void pack_groupsOfAFile_areTakenAsTheyAre(GroupLayout layout, WeightFormat format) {
    FileGroups source = new FileGroups(layout, 2 * BLOCK + 5, 160, new Random(4));
    DecodedRows some = DecodedRows.of(source).rows(3, OUT).columns(32, 96);
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, 96));
        ThreadTeam team = new ThreadTeam(2)) {
      PackedMatrix packed =
          MatrixPacker.stacked(format, List.of(some.rows(0, 30), some.rows(30, OUT - 30)))
              .pack(memory.address(), team);
      float[] numbers = numbers(packed);
      for (int o = 0; o < OUT; o++) {
        for (int i = 0; i < 96; i++) {
          assertThat(numbers[o * 96 + i]).isEqualTo(source.numbers[3 + o][32 + i]);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void pack_columnsThatCutThroughGroups_roundsThem(WeightFormat format) {
    GroupLayout layout = format == WeightFormat.INT8 ? GroupLayout.BYTES : GroupLayout.HALVES;
    FileGroups source = new FileGroups(layout, OUT, 64, new Random(5));
    DecodedRows half = DecodedRows.of(source).columns(16, 32);
    try (NativeBuffer memory = NativeBuffer.allocate(PackedMatrix.bytes(format, OUT, 32));
        ThreadTeam team = new ThreadTeam(1)) {
      MatrixPacker packer = MatrixPacker.stacked(format, List.of(half));
      float[] numbers = numbers(packer.pack(memory.address(), team));
      float step = 0.1f * (format == WeightFormat.INT8 ? 128 / 127f : 1.3f);
      for (int o = 0; o < OUT; o++) {
        for (int i = 0; i < 32; i++) {
          assertThat(numbers[o * 32 + i]).isCloseTo(source.numbers[o][16 + i], within(step));
        }
      }
    }
  }

  /** Random groups as a file has them, and their numbers. */
  private static final class FileGroups implements DecodedRows.Source {
    private final GroupLayout layout;
    private final byte[][] bytes;
    private final float[][] numbers;

    FileGroups(GroupLayout layout, int rows, int columns, Random random) {
      this.layout = layout;
      bytes = new byte[rows][columns / 32 * layout.bytes()];
      numbers = new float[rows][columns];
      for (int row = 0; row < rows; row++) {
        ByteBuffer to = ByteBuffer.wrap(bytes[row]).order(ByteOrder.LITTLE_ENDIAN);
        for (int first = 0; first < columns; first += 32) {
          short half = Float.floatToFloat16(random.nextFloat(-0.1f, 0.1f));
          to.putShort(half);
          for (int i = 0; i < layout.bytes() - 2; i++) {
            byte random8 = (byte) random.nextInt(256);
            to.put(random8);
            float scale = Float.float16ToFloat(half);
            switch (layout) {
              case BYTES -> numbers[row][first + i] = scale * random8;
              case HALVES -> {
                numbers[row][first + i] = scale * ((random8 & 15) - 8);
                numbers[row][first + 16 + i] = scale * ((random8 >> 4 & 15) - 8);
              }
            }
          }
        }
      }
    }

    @Override
    public int rows() {
      return numbers.length;
    }

    @Override
    public int columns() {
      return numbers[0].length;
    }

    @Override
    public void read(int row, float[] to) {
      System.arraycopy(numbers[row], 0, to, 0, columns());
    }

    @Override
    public Optional<GroupLayout> layout() {
      return Optional.of(layout);
    }

    @Override
    public void readGroups(int row, byte[] to) {
      System.arraycopy(bytes[row], 0, to, 0, bytes[row].length);
    }
  }

  private static float[] numbers(PackedMatrix packed) {
    float[] all = new float[packed.out() * packed.in()];
    float[] row = new float[packed.in()];
    for (int o = 0; o < packed.out(); o++) {
      packed.read(o, row);
      System.arraycopy(row, 0, all, o * row.length, row.length);
    }
    return all;
  }

  private static PackedMatrix pack(WeightFormat format, float[] numbers, NativeBuffer memory) {
    try (NativeBuffer source = NativeBuffer.allocate(4L * numbers.length);
        ThreadTeam team = new ThreadTeam(2)) {
      for (int i = 0; i < numbers.length; i++) {
        NativeNumbers.putFloat(numbers[i], source.address() + 4L * i);
      }
      StoredRows rows = StoredRows.of(StoredRows.Type.FLOAT32, source.address(), OUT, IN);
      return MatrixPacker.stacked(format, List.of(rows)).pack(memory.address(), team);
    }
  }
}
