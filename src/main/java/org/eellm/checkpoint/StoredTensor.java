package org.eellm.checkpoint;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A tensor as it lies in a file.
 *
 * @param type number format of an element
 * @param shape lengths of the dimensions, outermost first; empty for a scalar
 * @param bytes the elements, little-endian, row-major, read-only; a part of the file's mapping, so
 *     valid until the file is closed, and not always aligned to the element's size
 */
public record StoredTensor(SafetensorsType type, List<Long> shape, MemorySegment bytes) {
  public StoredTensor {
    shape = List.copyOf(shape);
  }
}
