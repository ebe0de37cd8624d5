package org.eellm.checkpoint.safetensors;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Optional;
import org.eellm.gguf.GgufRows;

/**
 * A tensor as it lies in a file.
 *
 * @param type number format of an element; float32 where the file's numbers are quantised
 * @param shape lengths of the dimensions, outermost first; empty for a scalar
 * @param content where the elements are
 */
public record StoredTensor(SafetensorsType type, List<Long> shape, Content content) {

  /** Where a tensor's elements are; a part of the file's mapping, valid until it is closed. */
  public sealed interface Content {
    /** The file's own bytes, read-only, whatever they stand for. */
    MemorySegment stored();
  }

  /**
   * Elements as they are meant: little-endian, row-major, not always aligned to their size.
   *
   * @param stored the elements
   */
  public record Mapped(MemorySegment stored) implements Content {}

  /**
   * Rows of a GGUF file that are quantised or in another order.
   *
   * @param rows the rows
   */
  public record Rows(GgufRows rows) implements Content {
    @Override
    public MemorySegment stored() {
      return rows.bytes();
    }
  }

  public StoredTensor {
    shape = List.copyOf(shape);
  }

  /** A tensor whose elements are at hand. */
  public StoredTensor(SafetensorsType type, List<Long> shape, MemorySegment bytes) {
    this(type, shape, new Mapped(bytes));
  }

  /** Whether its elements are the file's very bytes. */
  public boolean isMapped() {
    return content instanceof Mapped;
  }

  /** The rows as the file has them, where these are quantised. */
  public Optional<GgufRows> quantised() {
    return content instanceof Rows(GgufRows rows) && rows.type().quantised()
        ? Optional.of(rows)
        : Optional.empty();
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
    };
  }

  /** The elements, for as long as the result is used; {@link #bytes(Arena)} frees sooner. */
  public MemorySegment bytes() {
    return bytes(Arena.ofAuto());
  }
}
