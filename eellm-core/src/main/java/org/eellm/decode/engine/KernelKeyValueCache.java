package org.eellm.decode.engine;

import java.lang.foreign.MemorySegment;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.vector.NativeBuffer;

/**
 * The keys and values of all attentions, by page and head, in one buffer on huge pages, which are
 * taken from the system as they are written. With pages of 4 KiB, each 16th token of a small model
 * took three times as long as the others.
 */
final class KernelKeyValueCache implements AutoCloseable {
  private final PageLayout layout;
  private final int heads;
  private final int pages;
  private final boolean[] hasRun; // by attention
  private final NativeBuffer memory;

  /**
   * @param heads that have keys and values, on this rank
   */
  KernelKeyValueCache(PageLayout layout, int heads, int pages, int attentions) {
    this.layout = layout;
    this.heads = heads;
    this.pages = pages;
    hasRun = new boolean[attentions];
    memory =
        NativeBuffer.allocate(Math.max(pageBytes() * pages * attentions, NativeBuffer.HUGE_PAGE));
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

  /** Notes that an attention runs, so that its pages are copied; on the engine's thread. */
  void begin(int attention) {
    hasRun[attention] = true;
  }

  /** Address of a head's page 0. */
  long head(int attention, int head) {
    return memory.address() + pageBytes() * pages * attention + head * layout.bytes();
  }

  /** Copies a page of all attentions that have run. */
  void copy(int from, int to) {
    long bytes = pageBytes();
    MemorySegment all = MemorySegment.ofAddress(memory.address()).reinterpret(memory.bytes());
    for (int attention = 0; attention < hasRun.length; attention++) {
      if (hasRun[attention]) {
        long first = (long) attention * pages;
        MemorySegment.copy(all, (first + from) * bytes, all, (first + to) * bytes, bytes);
      }
    }
  }

  /** Keys of all heads at a position, then values, [2 heads, width]. */
  float[] read(int attention, int page, int offset) {
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
    memory.close();
  }
}
