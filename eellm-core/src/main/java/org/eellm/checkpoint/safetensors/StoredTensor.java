package org.eellm.checkpoint.safetensors;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Function;
import java.util.function.IntUnaryOperator;
import org.eellm.gguf.GgufRows;

/**
 * A tensor as it lies in a file.
 *
 * @param type number format of an element; float32 where the file's numbers are quantised
 * @param shape lengths of the dimensions, outermost first; empty for a scalar
 * @param content where the elements are
 */
public record StoredTensor(SafetensorsType type, List<Long> shape, Content content) {

  /** Where a tensor's elements are: in the file's mapping, valid until it is closed. */
  public sealed interface Content {}

  /**
   * Elements as they are meant: little-endian, row-major, not always aligned to their size.
   *
   * @param stored the elements
   */
  public record Mapped(MemorySegment stored) implements Content {}

  /**
   * Quantised rows of a GGUF file.
   *
   * @param rows the rows
   */
  public record Rows(GgufRows rows) implements Content {}

  /**
   * How far elements of a file's matrix are apart.
   *
   * @param row elements from a row to the next
   * @param column elements from a column to the next
   * @param width bytes of an element
   */
  public record Strides(int row, int column, int width) {}

  /**
   * Rows of a matrix that a file has in another order, or as columns.
   *
   * @param stored the file's matrix
   * @param rows how many are meant
   * @param order the file's row for each of these
   */
  public record Arranged(
      MemorySegment stored, int rows, int columns, Strides strides, IntUnaryOperator order)
      implements Content {
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong LONG = ValueLayout.JAVA_LONG_UNALIGNED;

    /** Columns that are written of each row in turn, so that lines of the file stay at hand. */
    private static final int BLOCK = 64;

    private void read(MemorySegment into) {
      if (strides.column() != 1) {
        transpose(into);
        return;
      }
      long bytes = (long) columns * strides.width();
      for (int row = 0; row < rows; row++) {
        long from = (long) order.applyAsInt(row) * strides.row() * strides.width();
        MemorySegment.copy(stored, from, into, row * bytes, bytes);
      }
    }

    private void transpose(MemorySegment into) {
      for (int first = 0; first < columns; first += BLOCK) {
        int end = Math.min(columns, first + BLOCK);
        for (int row = 0; row < rows; row++) {
          long from = (long) order.applyAsInt(row) * strides.row();
          for (int column = first; column < end; column++) {
            copy(from + (long) column * strides.column(), into, (long) row * columns + column);
          }
        }
      }
    }

    private void copy(long from, MemorySegment into, long to) {
      switch (strides.width()) {
        case Short.BYTES -> into.set(SHORT, 2 * to, stored.get(SHORT, 2 * from));
        case Integer.BYTES -> into.set(INT, 4 * to, stored.get(INT, 4 * from));
        case Long.BYTES -> into.set(LONG, 8 * to, stored.get(LONG, 8 * from));
        default -> throw new IllegalStateException(strides + " are not of a format of weights");
      }
    }
  }

  /**
   * Elements that are computed when they are asked for.
   *
   * @param values makes them in an arena
   */
  public record Made(Function<Arena, MemorySegment> values) implements Content {}

  public StoredTensor {
    shape = List.copyOf(shape);
  }

  /** A tensor whose elements are at hand. */
  public StoredTensor(SafetensorsType type, List<Long> shape, MemorySegment bytes) {
    this(type, shape, new Mapped(bytes));
  }

  /** The exception for a tensor whose number format weights do not have. */
  public CheckpointException noWeights(Path place, String name) {
    return new CheckpointException(
        "%s: tensor %s is %s; weights must be F64, F32, F16 or BF16".formatted(place, name, type));
  }

  /** Whether its elements are the file's very bytes. */
  public boolean isMapped() {
    return content instanceof Mapped;
  }

  /** The rows as the file has them, where these are quantised. */
  public Optional<GgufRows> quantised() {
    return content instanceof Rows(GgufRows rows) ? Optional.of(rows) : Optional.empty();
  }

  /** The bytes in the file that the elements are made of, or else the elements. */
  public MemorySegment file() {
    return switch (content) {
      case Mapped(MemorySegment stored) -> stored;
      case Rows(GgufRows rows) -> rows.bytes();
      case Arranged arranged -> arranged.stored();
      case Made _ -> bytes();
    };
  }

  /**
   * The elements, little-endian and row-major: the file's mapping, or made of it anew.
   *
   * @param arena keeps what has to be made
   */
  public MemorySegment bytes(Arena arena) {
    return switch (content) {
      case Mapped(MemorySegment stored) -> stored;
      case Rows(GgufRows rows) -> {
        MemorySegment made = arena.allocate(rows.rows() * rows.valueBytes(), Long.BYTES);
        rows.read(made);
        yield made.asReadOnly();
      }
      case Made(Function<Arena, MemorySegment> values) -> values.apply(arena);
      case Arranged arranged -> {
        long bytes = (long) arranged.rows() * arranged.columns() * arranged.strides().width();
        MemorySegment made = arena.allocate(bytes, Long.BYTES);
        arranged.read(made);
        yield made.asReadOnly();
      }
    };
  }

  /** The elements, for as long as the result is used; {@link #bytes(Arena)} frees sooner. */
  public MemorySegment bytes() {
    return bytes(Arena.ofAuto());
  }
}
