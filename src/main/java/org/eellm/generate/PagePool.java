package org.eellm.generate;

import java.util.BitSet;
import java.util.HashMap;
import java.util.Map;
import org.bytedeco.pytorch.InferenceMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.model.Decoder;
import org.eellm.tensor.Kept;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Memory for the keys and values of many sequences, in pages of {@link #PAGE} positions. A page is
 * one number for all attentions of the model. Several sequences may use it; it is free when the
 * last of them lets go of it and nobody keeps it for later.
 *
 * <p>Pages that follow each other lie so in memory: what a sequence takes at once is, where
 * possible, one run that attention reads without copying.
 */
final class PagePool implements AutoCloseable {
  /** Positions of a page. */
  static final int PAGE = 16;

  private final ScalarType format;
  private final int[] users; // by page
  private final BitSet kept;
  private final BitSet free;
  private int used;
  private final Kept memory = new Kept();
  private final Map<Integer, Slot> slots = new HashMap<>(); // by attention

  /**
   * The memory of one attention.
   *
   * @param all keys of all heads, then values, [2 K, rows, D]
   * @param keys its first half, [1, K, rows, D]
   * @param values its second half, [1, K, rows, D]
   */
  record Slot(Tensor all, Tensor keys, Tensor values) {}

  /**
   * @param format number format to store in; what is written is converted
   */
  PagePool(int pages, ScalarType format) {
    this.format = format;
    users = new int[pages];
    kept = new BitSet(pages);
    free = new BitSet(pages);
    free.set(0, pages);
  }

  /** The number format to store in: on a CPU, libtorch's attention in bfloat16 is slow. */
  static ScalarType format(Decoder model) {
    try (Scope _ = Scope.open()) {
      return model.device().is_cpu() ? ScalarType.Float : model.scalarType();
    }
  }

  /** How many pages that many positions take. */
  static int pages(int positions) {
    return Math.ceilDiv(positions, PAGE);
  }

  int size() {
    return users.length;
  }

  int free() {
    return free.cardinality();
  }

  /** How many pages have users. */
  int used() {
    return used;
  }

  boolean isUsed(int page) {
    return users[page] > 0;
  }

  /** Takes free pages, each with one user: the smallest run that is long enough, or the longest. */
  int[] take(int count) {
    if (count > free()) {
      throw new IllegalStateException(count + " pages are more than the " + free() + " free ones");
    }
    int[] pages = new int[count];
    int taken = 0;
    while (taken < count) {
      int page = bestRun(count - taken);
      for (; taken < count && free.get(page); page++) {
        free.clear(page);
        share(page);
        pages[taken++] = page;
      }
    }
    return pages;
  }

  private int bestRun(int wanted) {
    int best = -1;
    int bestLength = 0;
    for (int first = free.nextSetBit(0); first >= 0; ) {
      int end = free.nextClearBit(first);
      int length = end - first;
      boolean better =
          bestLength < wanted ? length > bestLength : length >= wanted && length < bestLength;
      if (better) {
        best = first;
        bestLength = length;
      }
      first = free.nextSetBit(end);
    }
    return best;
  }

  /** Adds a user to a page. */
  void share(int page) {
    if (users[page]++ == 0) {
      used++;
    }
  }

  /** Takes a user from a page. */
  void release(int page) {
    if (--users[page] == 0) {
      used--;
      free.set(page, !kept.get(page));
    }
  }

  /** Keeps a page in use for later, when it has no users. */
  void keep(int page) {
    kept.set(page);
  }

  /** Keeps a page no longer. */
  void forget(int page) {
    kept.clear(page);
    free.set(page, users[page] == 0);
  }

  /** Copies what all attentions keep at a page to another one. */
  void copy(int from, int to) {
    try (Scope _ = Scope.open();
        InferenceMode _ = new InferenceMode()) { // in which the memory was made
      for (Slot slot : slots.values()) {
        slot.all()
            .narrow(1, (long) to * PAGE, PAGE)
            .copy_(slot.all().narrow(1, (long) from * PAGE, PAGE));
      }
    }
  }

  /** The memory of an attention that has run. */
  Slot slot(int slot) {
    Slot present = slots.get(slot);
    if (present == null) {
      throw new IllegalStateException("attention " + slot + " has not run");
    }
    return present;
  }

  /**
   * The memory of an attention; made when it first runs, as many never do.
   *
   * @param keyValue what it is to keep, [n, 2 K, D]
   */
  Slot slot(int slot, Tensor keyValue) {
    Slot present = slots.get(slot);
    return present == null ? allocate(slot, keyValue) : present;
  }

  private Slot allocate(int slot, Tensor example) {
    try (Scope _ = Scope.open()) {
      long heads = example.size(1) / 2;
      long rows = (long) users.length * PAGE;
      Tensor all = Tensors.empty(format, example.device(), 2 * heads, rows, example.size(2));
      Slot made =
          new Slot(
              memory.keep(all),
              memory.keep(all.narrow(0, 0, heads).unsqueeze(0)),
              memory.keep(all.narrow(0, heads, heads).unsqueeze(0)));
      slots.put(slot, made);
      return made;
    }
  }

  @Override
  public void close() {
    memory.close();
    slots.clear();
  }
}
