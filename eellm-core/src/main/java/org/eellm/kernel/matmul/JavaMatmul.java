package org.eellm.kernel.matmul;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.util.Arrays;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Products in Java, row by row, by {@link Tile}s: to the bit those of {@link DotKernels} in the
 * same order, of groups too, whose integers float32 adds up exactly.
 *
 * @param tiles by the ordinal of their format
 * @param vectors whether they are the Vector API's
 */
record JavaMatmul(SumOrder order, Tile[] tiles, boolean vectors) implements RowsByMatrix {
  private static final int OUTPUTS = Tile.OUTPUTS;
  private static final long STEP_BYTES = 4L * PackedMatrix.BLOCK;
  private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

  /** A thread's room for a row and for a tile's outputs. */
  private static final class Scratch {
    private float[] row = {};
    private final float[] half = new float[SumOrder.TILE_INPUTS]; // of a row's next inputs
    private final float[] sums = new float[OUTPUTS];
    private final float[] first = new float[OUTPUTS]; // of a group, or of even inputs
    private final float[] second = new float[OUTPUTS]; // of odd inputs
  }

  static JavaMatmul of(SumOrder order, boolean vectors) {
    return new JavaMatmul(
        order,
        Arrays.stream(WeightFormat.values())
            .map(format -> Tile.of(format, vectors))
            .toArray(Tile[]::new),
        vectors);
  }

  @Override
  public int mostRows() {
    return Integer.MAX_VALUE;
  }

  @Override
  public void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      PackedInput x,
      int firstRow,
      int rows,
      long y,
      long yRowBytes) {
    Scratch scratch = SCRATCH.get();
    for (int block = firstBlock; block < firstBlock + blocks; block++) {
      for (int row = 0; row < rows; row++) {
        if (rows > 1 || block == firstBlock) {
          read(w.format(), x, firstRow + row, scratch);
        }
        long to = y + row * yRowBytes + (block - firstBlock) * STEP_BYTES;
        for (int o = 0; o < PackedMatrix.BLOCK; o += OUTPUTS) {
          Arrays.fill(scratch.sums, 0);
          if (w.format().hasGroups()) {
            addGroups(w, block, o, x.quantized(), firstRow + row, scratch);
          } else if (order == SumOrder.TILES) {
            addHalves(w, w.block(block) + 4L * o, scratch);
          } else {
            tile(w.format())
                .run(
                    w.block(block) + 4L * o,
                    STEP_BYTES,
                    w.steps(),
                    scratch.row,
                    0,
                    scratch.sums,
                    0);
          }
          FloatArithmetic.write(scratch.sums, 0, to + 4L * o, OUTPUTS);
        }
      }
    }
  }

  private Tile tile(WeightFormat format) {
    return tiles[format.ordinal()];
  }

  /** Reads a row's numbers: those of groups as they are rounded, without their scales. */
  private static void read(WeightFormat format, PackedInput x, int row, Scratch scratch) {
    int count =
        format.hasGroups() ? x.quantized().groups() * format.group() : format.padded(x.in());
    if (scratch.row.length < count) {
      scratch.row = new float[count];
    }
    float[] to = scratch.row;
    switch (format) {
      case FLOAT32 -> FloatArithmetic.read(x.address(row), to, 0, count);
      case BFLOAT16 -> {
        for (int i = 0; i < count; i++) {
          to[i] = NativeNumbers.get(x.address(row) + 2L * i);
        }
      }
      case INT8, INT4 -> {
        for (int i = 0; i < count; i++) {
          to[i] = MEMORY.get(JAVA_BYTE, x.quantized().number(row, i));
        }
      }
    }
  }

  /** Adds each group's sum of integers times its scales of weights and of the row. */
  private void addGroups(
      PackedMatrix w, int block, int output, QuantizedInput x, int row, Scratch scratch) {
    int group = w.format().group();
    float[] sums = scratch.first;
    for (int g = 0; g < w.groups(); g++) {
      Arrays.fill(sums, 0);
      tile(w.format())
          .run(
              w.group(block, g) + 4L * output,
              STEP_BYTES,
              group / w.format().inputsTogether(),
              scratch.row,
              g * group,
              sums,
              0);
      float scale = x.scale(row, g);
      for (int o = 0; o < OUTPUTS; o++) {
        short scaleOfW = w.groupScale(block * PackedMatrix.BLOCK + output + o, g);
        float factor = Float.float16ToFloat(scaleOfW) * scale;
        scratch.sums[o] = Math.fma(sums[o], factor, scratch.sums[o]);
      }
    }
  }

  /** Adds the products as tiles do: with even inputs, and with odd ones, each from 0. */
  private void addHalves(PackedMatrix w, long from, Scratch scratch) {
    int steps = SumOrder.TILE_INPUTS / w.format().inputsTogether();
    for (int step = 0; step < w.steps(); step += steps) {
      for (float[] sums : new float[][] {scratch.first, scratch.second}) {
        Arrays.fill(sums, 0);
        int other = sums == scratch.first ? 1 : 0;
        for (int i = 0; i < SumOrder.TILE_INPUTS; i++) {
          scratch.half[i] = i % 2 == other ? 0 : scratch.row[step * 2 + i];
        }
        tile(w.format()).run(from + step * STEP_BYTES, STEP_BYTES, steps, scratch.half, 0, sums, 0);
      }
      for (int o = 0; o < OUTPUTS; o++) {
        scratch.sums[o] += scratch.first[o] + scratch.second[o];
      }
    }
  }
}
