package org.eellm.decode.cache;

import java.util.Arrays;
import org.eellm.decode.engine.ModelRunner;

/** Consecutive positions of a sequence whose hidden states lie in a runner's slots. */
public final class HiddenStateSlots {
  private int[] slots = new int[8];
  private int first;
  private int count;

  public int first() {
    return first;
  }

  public int count() {
    return count;
  }

  /** The position after the last row. */
  public int end() {
    return first + count;
  }

  public int slot(int row) {
    return slots[row];
  }

  /** Adds the row of a position, which is the one after the last unless there is none. */
  void append(int position, int slot) {
    if (count == 0) {
      first = position;
    }
    if (count == slots.length) {
      slots = Arrays.copyOf(slots, 2 * count);
    }
    slots[count] = slot;
    count++;
  }

  /** Moves all rows of others, which follow these, behind these. */
  void moveFrom(HiddenStateSlots others) {
    for (int row = 0; row < others.count; row++) {
      append(others.first + row, others.slots[row]);
    }
    others.count = 0;
  }

  /** Releases the rows before position {@code start}. */
  void cutBefore(int start, ModelRunner runner) {
    int gone = Math.clamp(start - first, 0, count);
    for (int row = 0; row < gone; row++) {
      runner.release(slots[row]);
    }
    System.arraycopy(slots, gone, slots, 0, count - gone);
    first += gone;
    count -= gone;
  }

  /** Releases the rows of position {@code end} and beyond. */
  void cut(int end, ModelRunner runner) {
    while (count > 0 && end() > end) {
      count--;
      runner.release(slots[count]);
    }
  }

  void release(ModelRunner runner) {
    cut(first, runner);
  }
}
