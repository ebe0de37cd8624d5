package org.eellm.kernel;

import java.util.List;

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
    PackedMatrix matrix = new PackedMatrix(format, out(), in(), to);
    if (format.hasGroups()) {
      quantize(matrix, team);
    } else {
      copy(matrix, team);
    }
    return matrix;
  }

  private void quantize(PackedMatrix matrix, ThreadTeam team) {
    team.run(
        member -> {
          GroupQuantizer quantizer = new GroupQuantizer(matrix);
          float[] rows = new float[BLOCK * in()];
          member.begin(blocks());
          for (int block = member.next(); block >= 0; block = member.next()) {
            forEachRow(block, (piece, row, place) -> piece.read(row, rows, place * in()));
            quantizer.pack(block, rows, outputs(block));
          }
          member.end();
        });
  }

  private void copy(PackedMatrix matrix, ThreadTeam team) {
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
  }

  private void pack(PackedMatrix matrix, int block, long scratch) {
    Row first = firstRow(block);
    int count = outputs(block);
    WeightRows rows = first.in();
    if (rows.packsAs(format) && first.index() + count <= rows.rows()) {
      matrix.pack(block, rows.row(first.index()), count);
      return;
    }
    long rowBytes = (long) in() * format.bytes();
    forEachRow(block, (piece, row, place) -> piece.write(row, format, scratch + place * rowBytes));
    matrix.pack(block, scratch, count);
  }

  /** Rows of the source that a block has. */
  private int outputs(int block) {
    return Math.min(BLOCK, outOfAPart() - block / parts.size() * BLOCK);
  }

  /**
   * A row of a part.
   *
   * @param piece of the part's stack, by number
   * @param index of the row in that
   */
  private record Row(List<WeightRows> stack, int piece, int index) {
    WeightRows in() {
      return stack.get(piece);
    }

    Row next() {
      return index + 1 < in().rows()
          ? new Row(stack, piece, index + 1)
          : new Row(stack, piece + 1, 0);
    }
  }

  private Row firstRow(int block) {
    List<WeightRows> stack = parts.get(block % parts.size());
    int index = block / parts.size() * BLOCK;
    int piece = 0;
    while (index >= stack.get(piece).rows()) {
      index -= stack.get(piece++).rows();
    }
    return new Row(stack, piece, index);
  }

  /** Takes a row and its place in the block. */
  @FunctionalInterface
  private interface Visitor {
    void visit(WeightRows in, int row, int place);
  }

  private void forEachRow(int block, Visitor visitor) {
    Row row = firstRow(block);
    int count = outputs(block);
    for (int place = 0; place < count; place++, row = row.next()) {
      visitor.visit(row.in(), row.index(), place);
    }
  }
}
