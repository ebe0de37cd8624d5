package org.eellm.checkpoint.safetensors;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A tensor to be written, whose bytes are asked for when its turn comes: one tensor at a time, or
 * piece by piece, can be converted or fetched, and memory stays bounded.
 *
 * @param name unique within the file
 * @param type number format of an element
 * @param shape lengths of the dimensions, outermost first; empty for a scalar
 * @param content gives the elements, little-endian and row-major
 */
public record TensorSource(String name, SafetensorsType type, List<Long> shape, Content content) {

  /** Gives a tensor's bytes. */
  @FunctionalInterface
  public interface Content {
    /** Hands all bytes, in order, to {@code sink}, in one piece or in several. */
    void writeTo(Sink sink) throws IOException;
  }

  /** Takes a tensor's bytes. */
  @FunctionalInterface
  public interface Sink {
    /**
     * Takes the next bytes; they are not needed any more when this returns.
     *
     * @param bytes native memory or a byte array
     */
    void write(MemorySegment bytes) throws IOException;
  }

  public TensorSource {
    shape = List.copyOf(shape);
  }

  /** The tensor under another name. */
  public TensorSource named(String other) {
    return new TensorSource(other, type, shape, content);
  }

  /** A tensor whose bytes are at hand, in native memory or a byte array. */
  public static TensorSource of(
      String name, SafetensorsType type, List<Long> shape, MemorySegment bytes) {
    return new TensorSource(name, type, shape, sink -> sink.write(bytes));
  }
}
