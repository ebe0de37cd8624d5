package org.eellm.kernel.matmul;

import java.util.EnumMap;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.eellm.kernel.vector.NativeNumbers;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * Products with weights whose inputs share scales in groups: sums of a group in integers, then
 * {@code y += sum (scale of w * scale of x)} in float32, group after group. Both ways, machine code
 * ({@link GroupKernels}) and the Vector API, give the same to the bit, for any number of rows.
 */
final class GroupedMatmul {
  /** Rows that pass the weights at once with the Vector API. */
  private static final int VECTOR_ROWS = 4;

  /** Vectors of sums with the Vector API: the JVM leaves methods with many more uncompiled. */
  private static final int SUMS = 8;

  private static final int BLOCK_BYTES = PackedMatrix.BLOCK * Float.BYTES; // of a row of y

  private final Optional<GroupKernels> code;
  private final Map<WeightFormat, GroupTile[]> tiles = new EnumMap<>(WeightFormat.class); // by rows

  /** By machine code. */
  GroupedMatmul(GroupKernels code) {
    this.code = Optional.of(code);
  }

  /** By the Vector API. */
  GroupedMatmul() {
    code = Optional.empty();
    for (WeightFormat format : WeightFormat.values()) {
      if (format.hasGroups()) {
        GroupTile[] byRows = new GroupTile[VECTOR_ROWS + 1];
        for (int rows = 1; rows <= VECTOR_ROWS; rows++) {
          byRows[rows] = GroupTiles.of(new GroupTiles.Variant(format, rows, vectors(rows)));
        }
        tiles.put(format, byRows);
      }
    }
  }

  /** The processor that machine code is for, if that multiplies. */
  Optional<CodeTarget> target() {
    return code.map(GroupKernels::target);
  }

  /** Vectors of outputs that so many rows take at once. */
  private static int vectors(int rows) {
    return Math.min(PackedMatrix.BLOCK / NativeNumbers.WIDTH, Integer.highestOneBit(SUMS / rows));
  }

  /** As {@link MatmulKernel#multiply} does. */
  void multiply(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      QuantizedInput x,
      int firstRow,
      int rows,
      long y,
      long rowBytes) {
    int most = code.isPresent() ? BlockCode.MOST_ROWS : VECTOR_ROWS;
    // Several rows go through one block, which stays in the nearest cache.
    int together = rows <= most ? w.blocksOfCall() : 1;
    for (int block = 0; block < blocks; block += together) {
      int some = Math.min(together, blocks - block);
      for (int row = 0; row < rows; row += most) {
        int count = Math.min(most, rows - row);
        int at = firstRow + row;
        long to = y + (long) block * BLOCK_BYTES + row * rowBytes;
        if (code.isPresent()) {
          code.get()
              .multiply(w, firstBlock + block, some, count, x.row(at), x.units(), to, rowBytes);
        } else {
          multiplyVectors(w, firstBlock + block, some, count, x, at, to, rowBytes);
        }
      }
    }
  }

  private void multiplyVectors(
      PackedMatrix w,
      int firstBlock,
      int blocks,
      int rows,
      QuantizedInput x,
      int firstRow,
      long y,
      long rowBytes) {
    int width = vectors(rows) * NativeNumbers.WIDTH;
    GroupTile tile = Objects.requireNonNull(tiles.get(w.format()))[rows];
    for (int block = 0; block < blocks; block++) {
      for (int v = 0; v < PackedMatrix.BLOCK; v += width) {
        tile.run(
            w.block(firstBlock + block) + 4L * v,
            w.scaleAddress((firstBlock + block) * PackedMatrix.BLOCK + v, 0),
            w.groups(),
            x.floats(),
            firstRow * x.units(),
            x.units(),
            y + (long) block * BLOCK_BYTES + 4L * v,
            rowBytes);
      }
    }
  }
}
