package org.eellm.kernel.weight;

import java.util.List;
import org.eellm.kernel.machine.ThreadTeam;
import org.eellm.kernel.vector.NativeBuffer;

/**
 * Packs a matrix, out of one or several that lie in memory row by row.
 *
 * @param parts matrices whose blocks of 64 outputs take turns; each a stack of others
 */
public record MatrixPacker(WeightFormat format, List<List<WeightRows>> parts) {
  private static final int BLOCK = PackedMatrix.BLOCK;

  public MatrixPacker {
    parts = List.copyOf(parts);
  }

  /** Matrices on top of each other. */
  public static MatrixPacker stacked(WeightFormat format, List<WeightRows> pieces) {
    return new MatrixPacker(format, List.of(pieces));
  }

  /** Matrices of equal size, as gate and up: a block of the one, then a block of the other. */
  public static MatrixPacker interleaved(WeightFormat format, List<WeightRows> pieces) {
    return new MatrixPacker(format, pieces.stream().map(List::of).toList());
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
    switch (format) {
      case FLOAT32, BFLOAT16 -> copy(matrix, team);
      case INT8, INT4 -> fillGroups(matrix, team);
    }
    return matrix;
  }

  private void fillGroups(PackedMatrix matrix, ThreadTeam team) {
    team.run(
        member -> {
          Groups groups = new Groups(matrix);
          member.begin(blocks());
          for (int block = member.next(); block >= 0; block = member.next()) {
            groups.fill(block);
          }
          member.end();
        });
  }

  /** A thread's room for a block of a matrix with groups. */
  private final class Groups {
    private final GroupBlock target;
    private final Int4Quantizer halves;
    private final int width; // of a row, whole groups
    private final float[] rows; // [BLOCK, width]
    private byte[] stored = {}; // a row's groups as a file has them

    Groups(PackedMatrix matrix) {
      target = new GroupBlock(matrix);
      halves = new Int4Quantizer(matrix);
      width = matrix.groups() * format.group();
      rows = new float[BLOCK * width];
    }

    void fill(int block) {
      int count = outputs(block);
      if (areStored(block)) {
        forEachRow(block, this::take);
        target.store(block, count);
        return;
      }
      forEachRow(block, (piece, row, place) -> piece.read(row, rows, place * width));
      if (format == WeightFormat.INT4) {
        halves.pack(block, rows, count);
        return;
      }
      for (int output = 0; output < count; output++) {
        target.round(output, rows, output * width);
      }
      target.store(block, count);
    }

    private void take(WeightRows piece, int row, int place) {
      DecodedRows source = (DecodedRows) piece;
      GroupLayout layout = source.layout().orElseThrow();
      int bytes = source.source().columns() / GroupLayout.GROUP * layout.bytes();
      if (stored.length < bytes) {
        stored = new byte[bytes];
      }
      source.readGroups(row, stored);
      target.take(place, stored, source.firstGroup() * layout.bytes(), layout);
    }

    private boolean areStored(int block) {
      Row row = firstRow(block);
      for (int left = outputs(block); left > 0; ) {
        if (!(row.in() instanceof DecodedRows source
            && source.layout().filter(layout -> layout.fits(format)).isPresent())) {
          return false;
        }
        left -= source.rows() - row.index();
        row = new Row(row.stack(), row.piece() + 1, 0);
      }
      return true;
    }
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
    if (rows instanceof StoredRows stored
        && stored.packsAs(format)
        && first.index() + count <= rows.rows()) {
      matrix.pack(block, stored.row(first.index()), count);
      return;
    }
    long rowBytes = (long) in() * format.bytes();
    forEachRow(block, (piece, row, place) -> piece.write(row, format, scratch + place * rowBytes));
    matrix.pack(block, scratch, count);
  }

  private int outputs(int block) {
    return Math.min(BLOCK, outOfAPart() - block / parts.size() * BLOCK);
  }

  /**
   * A row of a part.
   *
   * @param piece of the part's stack, by number
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
