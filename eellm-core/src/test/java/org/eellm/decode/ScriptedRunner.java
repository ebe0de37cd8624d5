package org.eellm.decode;

import java.util.Arrays;
import java.util.List;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Decoder;
import org.eellm.model.Head;

/**
 * Computes nothing, and allocates nothing. The best id follows from the position alone, and so does
 * how sure a head is; slots are counted.
 */
class ScriptedRunner implements ModelRunner {
  private static final int SLOTS = 4096;
  private static final int FIRST_ID = 200; // beyond the numbers that Java keeps objects of

  private final Decoder model;
  private final int pages;
  private final Script[] outputs;
  private final boolean[] taken = new boolean[SLOTS];
  private int takenCount;

  ScriptedRunner(Decoder model, int pages) {
    this.model = model;
    this.pages = pages;
    outputs = model.allHeads().stream().map(Script::new).toArray(Script[]::new);
  }

  /** Slots that have not been given back. */
  int takenCount() {
    return takenCount;
  }

  @Override
  public Decoder model() {
    return model;
  }

  @Override
  public int pages() {
    return pages;
  }

  @Override
  public int allocateSlot() {
    int slot = 0;
    while (taken[slot]) {
      slot++;
    }
    taken[slot] = true;
    takenCount++;
    return slot;
  }

  @Override
  public void release(int slot) {
    requireTaken(slot);
    taken[slot] = false;
    takenCount--;
  }

  private void requireTaken(int slot) {
    if (!taken[slot]) {
      throw new IllegalStateException("slot " + slot + " is free");
    }
  }

  @Override
  public void copy(int from, int to) {
    requireTaken(from);
    requireTaken(to);
  }

  @Override
  public int hiddenBytes() {
    return 0;
  }

  @Override
  public void read(int slot, byte[] to, int at) {
    requireTaken(slot);
  }

  @Override
  public void write(int slot, byte[] from, int at) {
    requireTaken(slot);
  }

  @Override
  public void copyPage(int from, int to) {}

  @Override
  public void embed(ForwardBatch rows, int[] ids) {
    requireInOrder(rows);
  }

  @Override
  public void run(int from, int to, ForwardBatch rows) {
    requireInOrder(rows);
  }

  @Override
  public void propagate(int from, int to, ForwardBatch rows) {
    requireInOrder(rows);
  }

  private void requireInOrder(ForwardBatch rows) {
    for (int range = 0; range < rows.ranges(); range++) {
      for (int row = rows.start(range); row < rows.end(range); row++) {
        requireTaken(rows.slot(row));
        if (rows.position(row) != rows.position(rows.start(range)) + row - rows.start(range)) {
          throw new IllegalStateException("a row is missing before position " + rows.position(row));
        }
      }
    }
  }

  @Override
  public HeadOutput predict(Head head, ForwardBatch rows, int[] asked, int count) {
    requireInOrder(rows);
    Script output = outputs[head.index()];
    for (int i = 0; i < count; i++) {
      output.positions[i] = rows.position(asked[i]);
    }
    return output;
  }

  @Override
  public HeadOutput draft(Head exit, ForwardBatch rows, int[] asked, int count) {
    return predict(exit, rows, asked, count);
  }

  @Override
  public void close() {}

  /** A prediction is waited for. */
  void onAwait() {}

  /** Whether predictions need no waiting for. */
  boolean isPredictionThere() {
    return true;
  }

  private final class Script implements HeadOutput {
    private final Head head;
    private final int[] positions = new int[SLOTS];

    Script(Head head) {
      this.head = head;
    }

    @Override
    public Head head() {
      return head;
    }

    @Override
    public void await() {
      onAwait();
    }

    @Override
    public boolean isThere() {
      return isPredictionThere();
    }

    @Override
    public int best(int row) {
      boolean errs = head.isExit() && positions[row] % 7 == 0;
      return FIRST_ID + positions[row] % 50 + (errs ? 1 : 0);
    }

    @Override
    public double maxProbability(int row) {
      return (positions[row] * 7 + head.layer() * 3) % 10 / 10.0;
    }

    @Override
    public double margin(int row) {
      return maxProbability(row);
    }

    @Override
    public double entropy(int row) {
      return 1 - maxProbability(row);
    }

    @Override
    public double logProbability(int row, int id) {
      return Math.log(maxProbability(row) + 0.01);
    }

    @Override
    public List<TokenScore> top(int row, int count) {
      throw new AssertionError("a script has no alternatives");
    }

    @Override
    public float[] logits(int row) {
      float[] logits = new float[2 * FIRST_ID];
      Arrays.fill(logits, -1);
      logits[best(row)] = 1;
      return logits;
    }

    @Override
    public double timesHidden(int row, float[] weights) {
      return 0;
    }

    @Override
    public HeadOutput tempered(double by) {
      return this;
    }
  }
}
