package org.eellm.kernel;

import java.util.List;
import java.util.Optional;

/**
 * A matrix that is going to be packed, out of one or several that lie in memory row by row.
 *
 * @param parts matrices whose blocks of 64 outputs take turns; each a stack of others
 */
public record PackedRows(WeightFormat format, List<List<WeightRows>> parts) {
  private static final int BLOCK = PackedMatrix.BLOCK;

  public PackedRows {
    parts = List.copyOf(parts);
  }

  /** Matrices on top of each other. */
  public static PackedRows stacked(WeightFormat format, List<WeightRows> pieces) {
    return new PackedRows(format, List.of(pieces));
  }

  /** Matrices of equal size, as gate and up: a block of the one, then a block of the other. */
  public static PackedRows inTurns(WeightFormat format, List<WeightRows> pieces) {
    return new PackedRows(format, pieces.stream().map(List::of).toList());
  }

  private int in() {
    return parts.getFirst().getFirst().columns();
  }

  private int outOfAPart() {
    return parts.getFirst().stream().mapToInt(WeightRows::rows).sum();
  }

  private int blocks() {
    return parts.size() * Math.ceilDiv(outOfAPart(), BLOCK);
  }

  /** Outputs: with parts that take turns, those that fill up blocks count. */
  private int out() {
    return parts.size() == 1 ? outOfAPart() : blocks() * BLOCK;
  }

  /** Bytes of the packed matrix. */
  public long bytes() {
    return PackedMatrix.bytes(format, blocks() * BLOCK, in());
  }

  /**
   * Packs on all threads.
   *
   * @param to address of zeroed memory, a multiple of 64
   */
  public PackedMatrix pack(long to, ThreadTeam team) {
    Optional<float[]> scales =
        format == WeightFormat.INT8 ? Optional.of(new float[blocks() * BLOCK]) : Optional.empty();
    PackedMatrix matrix = new PackedMatrix(format, out(), in(), to, scales);
    long scratchBytes = Math.ceilDiv((long) BLOCK * in() * format.bytes(), 64L) * 64;
    try (NativeBuffer scratch = NativeBuffer.allocate(scratchBytes * team.size())) {
      team.run(
          member -> {
            long own = scratch.address() + member.index() * scratchBytes;
            member.begin(blocks());
            for (int block = member.next(); block >= 0; block = member.next()) {
              pack(matrix, block, own);
            }
            member.end();
          });
    }
    return matrix;
  }

  private void pack(PackedMatrix matrix, int block, long scratch) {
    List<WeightRows> stack = parts.get(block % parts.size());
    int first = block / parts.size() * BLOCK;
    int count = Math.min(BLOCK, outOfAPart() - first);
    int piece = 0;
    while (first >= stack.get(piece).rows()) {
      first -= stack.get(piece++).rows();
    }
    if (stack.get(piece).packsAs(format) && first + count <= stack.get(piece).rows()) {
      matrix.pack(block, stack.get(piece).row(first), count);
      scales(matrix, stack.get(piece), block, first, count);
      return;
    }
    for (int row = 0; row < count; row++, first++) {
      if (first == stack.get(piece).rows()) {
        piece++;
        first = 0;
      }
      long to = scratch + (long) row * in() * format.bytes();
      float scale = stack.get(piece).write(first, format, to);
      int output = block * BLOCK + row;
      matrix.scales().ifPresent(all -> all[output] = scale);
    }
    matrix.pack(block, scratch, count);
  }

  private static void scales(
      PackedMatrix matrix, WeightRows source, int block, int first, int count) {
    if (matrix.scales().isPresent()) {
      float[] from = source.scales().orElseThrow();
      System.arraycopy(from, first, matrix.scales().get(), block * BLOCK, count);
    }
  }
}
