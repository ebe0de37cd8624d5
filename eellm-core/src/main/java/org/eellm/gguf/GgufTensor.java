package org.eellm.gguf;

import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * A tensor as it lies in a GGUF file.
 *
 * @param shape lengths of the dimensions, outermost first
 * @param bytes a part of the file's mapping, read-only, valid until the file is closed
 */
public record GgufTensor(GgufType type, List<Long> shape, MemorySegment bytes) {
  public GgufTensor {
    shape = List.copyOf(shape);
  }
}
