package org.eellm.decode.engine;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.vector.NativeBuffer;

/**
 * The keys and values of all attentions, by page and head. Memory for an attention is reserved when
 * it first runs, and taken from the system as pages are written.
 */
final class KernelKeyValueCache implements AutoCloseable {
  private final PageLayout layout;
  private final int heads;
  private final int pages;
  private final NativeBuffer[] byAttention;

  /**
   * @param heads that have keys and values, on this rank
   */
  KernelKeyValueCache(PageLayout layout, int heads, int pages, int attentions) {
    this.layout = layout;
    this.heads = heads;
    this.pages = pages;
    byAttention = new NativeBuffer[attentions];
    NativeBuffer none = NativeBuffer.allocate(0);
    Arrays.fill(byAttention, none);
  }

  PageLayout layout() {
    return layout;
  }

  int pages() {
    return pages;
  }

  /** From one page to the next, in bytes. */
  long pageBytes() {
    return heads * layout.bytes();
  }

  /** Makes sure that an attention has memory; on the engine's thread. */
  void require(int attention) {
    if (byAttention[attention].bytes() == 0) {
      byAttention[attention] = NativeBuffer.allocate(pages * pageBytes());
    }
  }

  /** Address of a head's page 0. */
  long head(int attention, int head) {
    return byAttention[attention].address() + head * layout.bytes();
  }

  /** Copies a page of all attentions that have run. */
  void copy(int from, int to) {
    long bytes = pageBytes();
    for (NativeBuffer memory : byAttention) {
      if (memory.bytes() > 0) {
        MemorySegment all = MemorySegment.ofAddress(memory.address()).reinterpret(memory.bytes());
        MemorySegment.copy(all, from * bytes, all, to * bytes, bytes);
      }
    }
  }

  /** Keys of all heads at a position, then values, [2 heads, width]. */
  float[] read(int attention, int page, int offset) {
    require(attention);
    int width = layout.width();
    float[] all = new float[2 * heads * width];
    float[] one = new float[width];
    for (int head = 0; head < heads; head++) {
      long at = head(attention, head) + page * pageBytes();
      layout.readKey(at, offset, one);
      System.arraycopy(one, 0, all, head * width, width);
      layout.readValue(at, offset, one);
      System.arraycopy(one, 0, all, (heads + head) * width, width);
    }
    return all;
  }

  @Override
  public void close() {
    for (NativeBuffer memory : byAttention) {
      memory.close();
    }
  }
}
