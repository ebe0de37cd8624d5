package org.eellm.kernel.row;

import java.lang.foreign.MemorySegment;
import org.eellm.kernel.vector.NativeFunction;

/**
 * Calls of machine code that one call from Java makes, in their order. Until the JVM has compiled
 * it, each call from Java costs microseconds, and one more entry of the list a fraction of that.
 *
 * <p>Belongs to one thread.
 */
public final class CallList {
  private static final int MOST = 64;
  private static final NativeFunction RUN = MachineRows.calls();

  private final long[] words = new long[MOST * CallCode.WORDS];
  private final MemorySegment memory = MemorySegment.ofArray(words);
  private int length;

  /** Adds a call at the end; a list that is full is run first. */
  public void add(
      NativeFunction function, long a, long b, long c, long d, long e, long f, long g, long h) {
    if (length == MOST) {
      run();
    }
    int at = length * CallCode.WORDS;
    words[at] = function.address().address();
    words[at + 1] = a;
    words[at + 2] = b;
    words[at + 3] = c;
    words[at + 4] = d;
    words[at + 5] = e;
    words[at + 6] = f;
    words[at + 7] = g;
    words[at + 8] = h;
    length++;
  }

  public void clear() {
    length = 0;
  }

  /**
   * Makes the calls, and empties the list.
   *
   * @return what the last call returned; 0 if there was none
   */
  public long run() {
    int count = length;
    length = 0;
    return count == 0 ? 0 : RUN.callWithArray(memory, count);
  }
}
