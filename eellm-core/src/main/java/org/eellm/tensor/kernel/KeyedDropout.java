package org.eellm.tensor.kernel;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.vector.Lanes;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/**
 * Dropout by a counter-based generator: whether an entry is dropped depends on a key and the
 * entry's row and column alone. Nothing is stored, and parts of a matrix can be drawn anywhere.
 *
 * <p>A row's number and the key give two 32-bit keys (after SplitMix64's finalizer). Each column's
 * number goes through two rounds of a 32-bit mixer with these. On CPUs a kernel draws while it
 * multiplies. Elsewhere, integer operations of libtorch draw the same numbers on the tensor's
 * device.
 *
 * @param key of the microbatch and the place in the model
 * @param probability of dropping an entry, above 0 and below 1
 * @param place of the matrix in the whole one
 */
public record KeyedDropout(long key, double probability, Place place) {
  private static final int GRAIN_ENTRIES = 4096;

  private static final long ROW_STEP = 0x9E3779B97F4A7C15L;
  private static final long ROW_FIRST = 0xBF58476D1CE4E5B9L;
  private static final long ROW_SECOND = 0x94D049BB133111EBL;
  private static final int COLUMN_STEP = 0x9E3779B1;
  private static final int COLUMN_FIRST = 0x21F0AAAD;
  private static final int COLUMN_SECOND = 0x735A2D97;

  /** For each lane its number times the column's step. */
  private static final IntVector LANES = IntVector.zero(Lanes.INTS).addIndex(1).mul(COLUMN_STEP);

  /**
   * Where a matrix lies in a larger one: its rows are runs of consecutive rows, in groups.
   *
   * @param skipped rows at the beginning that are not there
   * @param first number of the first row, or of the first that is skipped
   * @param length rows of a run
   * @param stride from the beginning of a run to that of the next one of the group
   * @param runs of a group
   * @param step from the beginning of a group to that of the next one
   */
  public record Place(
      long skipped, long first, long length, long stride, long runs, long step, long column) {

    /** Runs of whole rows at equal distances. */
    public static Place ofRuns(long first, long length, long step) {
      return new Place(0, first, length, 0, 1, step, 0);
    }

    long number(long row) {
      long run = (row + skipped) / length;
      return first + run / runs * step + run % runs * stride + (row + skipped) % length;
    }
  }

  /** Zeroes dropped entries of x, [rows, columns], and multiplies the others by 1 / (1 - p). */
  public void applyTo(Tensor x) {
    if (fits(x)) {
      kernel(x, x);
    } else {
      try (Scope scope = Scope.open()) {
        x.mul_(new Scalar(scale())).masked_fill_(dropped(x), new Scalar(0.0));
      }
    }
  }

  /** As {@link #applyTo}, into a new tensor. */
  public Tensor of(Tensor x) {
    if (fits(x)) {
      Tensor out = Tensors.empty(x.scalar_type(), x.device(), x.size(0), x.size(1));
      kernel(x, out);
      return out;
    }
    try (Scope scope = Scope.open()) {
      return scope.moveToOuter(
          x.mul(new Scalar(scale())).masked_fill_(dropped(x), new Scalar(0.0)));
    }
  }

  private double scale() {
    return 1 / (1 - probability);
  }

  /** Numbers below it are dropped. */
  private int threshold() {
    return (int) ((long) (probability * 0x1.0p32) + Integer.MIN_VALUE);
  }

  /** Which entries are dropped, by integer operations on the tensor's device, bool. */
  Tensor dropped(Tensor x) {
    try (Scope scope = Scope.open()) {
      Tensor numbers =
          torch
              .arange(new Scalar(x.size(0)), Torch.options(ScalarType.Long, x.device()))
              .add_(new Scalar(place.skipped()));
      Tensor run = numbers.floor_divide(new Scalar(place.length()));
      Tensor group = run.floor_divide(new Scalar(place.runs()));
      numbers.add_(run.mul(new Scalar(place.stride() - place.length())));
      numbers.add_(group.mul_(new Scalar(place.step() - place.runs() * place.stride())));
      Tensor keys = numbers.add_(new Scalar(place.first())).mul_(new Scalar(ROW_STEP));
      keys.add_(new Scalar(key));
      fold(keys, 30).mul_(new Scalar(ROW_FIRST));
      fold(keys, 27).mul_(new Scalar(ROW_SECOND));
      fold(keys, 31);
      Tensor low = keys.to(ScalarType.Int).unsqueeze(1);
      Tensor high = torch.bitwise_right_shift(keys, new Scalar(32)).to(ScalarType.Int).unsqueeze(1);
      Tensor columns =
          torch
              .arange(new Scalar(x.size(1)), Torch.options(ScalarType.Int, x.device()))
              .add_(new Scalar(place.column()))
              .mul_(new Scalar(COLUMN_STEP));
      Tensor drawn = columns.unsqueeze(0).add(low);
      fold(drawn, 16).mul_(new Scalar(COLUMN_FIRST)).bitwise_xor_(high);
      fold(drawn, 15).mul_(new Scalar(COLUMN_SECOND));
      return scope.moveToOuter(drawn.lt(new Scalar(threshold())));
    }
  }

  /** {@code x ^= x >> bits}; libtorch's shift extends the sign, and so do the kernel's. */
  private static Tensor fold(Tensor x, int bits) {
    try (Scope scope = Scope.open()) {
      return x.bitwise_xor_(torch.bitwise_right_shift(x, new Scalar(bits)));
    }
  }

  private static boolean fits(Tensor x) {
    ScalarType type = Tensors.scalarType(x);
    return TensorKernels.available()
        && x.device().is_cpu()
        && x.is_contiguous()
        && (type == ScalarType.Float || type == ScalarType.BFloat16);
  }

  private void kernel(Tensor x, Tensor out) {
    long from = x.data_ptr().address();
    long to = out.data_ptr().address();
    int columns = Math.toIntExact(x.size(1));
    int first = Math.toIntExact(place.column());
    long size = x.element_size();
    boolean wide = size == Float.BYTES;
    int threshold = threshold();
    float scale = (float) scale();
    OpenMpTeam.parallelFor(
        Math.toIntExact(x.size(0)),
        Math.max(1, GRAIN_ENTRIES / columns),
        (member, start, end) -> {
          for (int row = start; row < end; row++) {
            long rowKey = rowKey(place.number(row));
            int low = (int) rowKey;
            int high = (int) (rowKey >>> 32);
            long at = size * row * columns;
            int done =
                wide
                    ? floats(from + at, to + at, columns, rowKey)
                    : bfloat16s(from + at, to + at, columns, rowKey);
            for (int i = done; i < columns; i++) {
              boolean kept = drawn(first + i, low, high) >= threshold;
              if (wide) {
                float value = NativeNumbers.getFloat(from + at + 4L * i);
                NativeNumbers.putFloat(kept ? value * scale : 0, to + at + 4L * i);
              } else {
                float value = NativeNumbers.get(from + at + 2L * i);
                NativeNumbers.put(kept ? value * scale : 0, to + at + 2L * i);
              }
            }
          }
        });
  }

  private long rowKey(long number) {
    long z = number * ROW_STEP + key;
    z = (z ^ z >> 30) * ROW_FIRST;
    z = (z ^ z >> 27) * ROW_SECOND;
    return z ^ z >> 31;
  }

  private static int drawn(int column, int low, int high) {
    int u = column * COLUMN_STEP + low;
    u = (u ^ u >> 16) * COLUMN_FIRST ^ high;
    return (u ^ u >> 15) * COLUMN_SECOND;
  }

  /** Whole vectors of a row; returns how many columns these are. */
  private int floats(long from, long to, int columns, long rowKey) {
    int low = (int) rowKey;
    int high = (int) (rowKey >>> 32);
    int threshold = threshold();
    float scale = (float) scale();
    int end = columns / Lanes.WIDTH * Lanes.WIDTH;
    int first = (int) place.column();
    for (int i = 0; i < end; i += Lanes.WIDTH) {
      VectorMask<Integer> dropped = dropped(first + i, low, high, threshold);
      Lanes.storeFloats(
          Lanes.loadFloats(from + 4L * i).mul(scale).blend(0, dropped.cast(Lanes.FLOATS)),
          to + 4L * i);
    }
    return end;
  }

  private int bfloat16s(long from, long to, int columns, long rowKey) {
    int low = (int) rowKey;
    int high = (int) (rowKey >>> 32);
    int threshold = threshold();
    float scale = (float) scale();
    int end = columns / Lanes.WIDTH * Lanes.WIDTH;
    int first = (int) place.column();
    for (int i = 0; i < end; i += Lanes.WIDTH) {
      VectorMask<Integer> dropped = dropped(first + i, low, high, threshold);
      FloatVector x = Lanes.load(from + 2L * i).mul(scale);
      Lanes.store(x.blend(0, dropped.cast(Lanes.FLOATS)), to + 2L * i);
    }
    return end;
  }

  private static VectorMask<Integer> dropped(int column, int low, int high, int threshold) {
    IntVector u = LANES.add(column * COLUMN_STEP + low);
    u = u.lanewise(VectorOperators.XOR, u.lanewise(VectorOperators.ASHR, 16));
    u = u.mul(COLUMN_FIRST).lanewise(VectorOperators.XOR, high);
    u = u.lanewise(VectorOperators.XOR, u.lanewise(VectorOperators.ASHR, 15));
    return u.mul(COLUMN_SECOND).compare(VectorOperators.LT, threshold);
  }
}
