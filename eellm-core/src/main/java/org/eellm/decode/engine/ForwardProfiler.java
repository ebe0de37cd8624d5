package org.eellm.decode.engine;

import java.util.Arrays;
import org.eellm.kernel.machine.ThreadTeam.Member;

/**
 * Where the time of passes goes, as the first thread of the team sees it: each part with the wait
 * for the others at its end. Always on: a look at the clock costs some 20 ns, a part some
 * microseconds.
 */
public final class ForwardProfiler {

  public enum Part {
    EMBEDDING("embedding"),
    NORMS("norms"),
    QKV_PRODUCTS("products of queries, keys, values"),
    ATTENTION("attention"),
    OUTPUT_PRODUCTS("products of attention's output"),
    MLP_PRODUCTS("products of the MLP, and its activation"),
    DOWN_PRODUCTS("products of the MLP's output"),
    HEAD_PRODUCTS("products of heads"),
    LOGITS("largest logits and normalisers"),
    FORK_JOIN("threads starting and stopping");

    private final String text;

    Part(String text) {
      this.text = text;
    }

    public String text() {
      return text;
    }
  }

  private final long[] nanos = new long[Part.values().length];
  private long last;
  private long branches; // that blocks have passed
  private long rows; // that have passed them
  private long weightBytes;

  /** Begins to count: what was before is nobody's. */
  public void start() {
    last = System.nanoTime();
  }

  /** Counts the time since the last mark to a part; members but the first do nothing. */
  public void mark(Member member, Part part) {
    if (member.index() == 0) {
      mark(part);
    }
  }

  /** Counts the time since the last mark to a part, on the engine's thread between regions. */
  public void mark(Part part) {
    long now = System.nanoTime();
    nanos[part.ordinal()] += now - last;
    last = now;
  }

  /** Counts what a block has passed. */
  public void count(int through, int count, long bytes) {
    branches += through;
    rows += (long) through * count;
    weightBytes += bytes;
  }

  /** Rows that pass a layer at once, on average over layers and passes so far; 0 without any. */
  public double meanRows() {
    return branches == 0 ? 0 : (double) rows / branches;
  }

  /** Bytes of weights that blocks have passed so far. */
  public long weightBytes() {
    return weightBytes;
  }

  public long nanos(Part part) {
    return nanos[part.ordinal()];
  }

  public void reset() {
    Arrays.fill(nanos, 0);
    branches = 0;
    rows = 0;
    weightBytes = 0;
  }
}
