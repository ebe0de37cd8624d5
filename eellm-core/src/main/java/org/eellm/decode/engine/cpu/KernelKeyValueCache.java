package org.eellm.decode.engine.cpu;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import org.eellm.kernel.PageLayout;
import org.eellm.kernel.vector.NativeBuffer;

/**
 * The keys and values by page, attention and head, in one buffer on huge pages, which are taken
 * from the system as they are written. With the system's pages of 4 KiB, each 16th token of a small
 * model took three times as long as the others. With a page's attentions far from each other, one
 * step would take a huge page for each of them.
 */
final class KernelKeyValueCache implements AutoCloseable {
  private static final int NOT_HERE = -1;

  private final PageLayout layout;
  final int heads;
  private final int pages;
  private final int[] places; // by attention
  private final boolean[] hasRun; // by place
  private final long attentionBytes; // of its part of a page
  private final NativeBuffer memory;

  KernelKeyValueCache(PageLayout layout, int heads, int pages, List<Integer> attentions) {
    this.layout = layout;
    this.heads = heads;
    this.pages = pages;
    places = new int[attentions.stream().mapToInt(slot -> slot + 1).max().orElse(0)];
    Arrays.fill(places, NOT_HERE);
    attentions.forEach(slot -> places[slot] = attentions.indexOf(slot));
    hasRun = new boolean[attentions.size()];
    attentionBytes = heads * layout.bytes();
    memory = NativeBuffer.allocate(Math.max(pageBytes() * pages, NativeBuffer.HUGE_PAGE));
  }

  PageLayout layout() {
    return layout;
  }

  int pages() {
    return pages;
  }

  /** From one page to the next, in bytes. */
  long pageBytes() {
    return hasRun.length * attentionBytes;
  }

  /** Notes that an attention runs: its pages are copied from now on. On the engine's thread. */
  void markRun(int attention) {
    hasRun[places[attention]] = true;
  }

  /** Address of a head's page 0. */
  long head(int attention, int head) {
    return memory.address() + places[attention] * attentionBytes + head * layout.bytes();
  }

  /** Copies a page of all attentions that have run. */
  void copy(int from, int to) {
    MemorySegment all = MemorySegment.ofAddress(memory.address()).reinterpret(memory.bytes());
    for (int place = 0; place < hasRun.length; place++) {
      if (hasRun[place]) {
        long first = place * attentionBytes;
        long source = from * pageBytes() + first;
        MemorySegment.copy(all, source, all, to * pageBytes() + first, attentionBytes);
      }
    }
  }

  @Override
  public void close() {
    memory.close();
  }
}
