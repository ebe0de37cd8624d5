package org.eellm.distributed.memory;

import java.lang.foreign.MemorySegment;

/** Takes a message as it arrives, part by part in order. */
@FunctionalInterface
public interface PartSink {

  /**
   * Takes a part.
   *
   * @param offset of the part in the message, a multiple of 16 bytes
   * @param part unchanged until this returns
   */
  void take(long offset, MemorySegment part);

  /** Copies a message to memory of its length. */
  static PartSink copyTo(MemorySegment memory) {
    return (offset, part) -> memory.asSlice(offset).copyFrom(part);
  }
}
