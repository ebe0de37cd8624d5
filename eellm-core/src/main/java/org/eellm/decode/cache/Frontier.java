package org.eellm.decode.cache;

import java.util.Arrays;
import java.util.List;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.model.Head;

/**
 * How far each position of a sequence has come.
 *
 * <p>Positions complete the model from below. At each tap the positions that reached it are a
 * prefix of those that reached the one below; between the two lie the rows that wait there. Rows of
 * the running step are in flight.
 */
public final class Frontier implements AutoCloseable {
  /**
   * Final hidden states that wait for a draft head, at most: what is further back tells it little,
   * and a long prompt would take it longer than its drafts gain.
   */
  static final int MOST_FINALS = 64;

  private final ModelRunner runner;
  private final int[] taps; // of the heads in use, ascending
  private final HiddenStateSlots[] pending; // by place of the tap
  private final boolean[] hasAttention; // by index of the head, for those in use
  private final HiddenStateSlots[] unseen; // by index of the head
  private final int[] seen; // by index of the head
  private final HiddenStateSlots inFlight = new HiddenStateSlots();
  private final HiddenStateSlots finals = new HiddenStateSlots(); // that a draft head has not seen
  private int draftStart; // the draft head's first position, of a page
  private final int[] complete; // one number
  private int entered;
  private int exactEnd = Integer.MAX_VALUE; // from here on keys and values are not the model's

  /**
   * @param reused positions whose keys and values are there already
   */
  public Frontier(ModelRunner runner, List<Head> heads, int reused) {
    this.runner = runner;
    taps = heads.stream().mapToInt(Head::tap).sorted().distinct().toArray();
    pending = rows(taps.length);
    int indices = heads.getLast().index() + 1;
    hasAttention = new boolean[indices];
    heads.forEach(head -> hasAttention[head.index()] = head.hasAttention());
    unseen = rows(indices);
    seen = new int[indices];
    Arrays.fill(seen, reused);
    entered = reused;
    draftStart = reused;
    complete = new int[] {reused};
  }

  private Frontier(Frontier before) {
    runner = before.runner;
    taps = before.taps;
    pending = before.pending;
    hasAttention = before.hasAttention;
    unseen = before.unseen;
    seen = before.seen;
    complete = before.complete;
    entered = before.entered;
  }

  /**
   * Rows that go in behind those in flight here, while these wait for a head on another rank. Of
   * what waits at taps both know; to go back behind these, {@link #rollBack}.
   */
  public Frontier ahead() {
    return new Frontier(this);
  }

  private static HiddenStateSlots[] rows(int count) {
    HiddenStateSlots[] rows = new HiddenStateSlots[count];
    Arrays.setAll(rows, _ -> new HiddenStateSlots());
    return rows;
  }

  /** The rows that this step takes through the model. */
  public HiddenStateSlots inFlight() {
    return inFlight;
  }

  public int entered() {
    return entered;
  }

  /** Lets the next positions go in: gives each a slot for its hidden state. */
  public void allocateNext(int count) {
    for (int left = count; left > 0; left--) {
      inFlight.append(entered++, runner.allocateSlot());
    }
  }

  /** Adds the last of the in-flight rows to the last sequence of a block. */
  public void addTo(ForwardBatch block, int count) {
    for (int row = inFlight.count() - count; row < inFlight.count(); row++) {
      block.add(inFlight.slot(row), inFlight.first() + row);
    }
  }

  /** Adds copies of the in-flight rows, whose slots the caller releases. */
  public void addCopiesTo(ForwardBatch block) {
    for (int row = 0; row < inFlight.count(); row++) {
      int slot = runner.allocateSlot();
      runner.copy(inFlight.slot(row), slot);
      block.add(slot, inFlight.first() + row);
    }
  }

  /** Adds the rows that a head with attention has not seen, which are not in flight. */
  public void addUnseenTo(ForwardBatch block, Head head) {
    HiddenStateSlots rows = unseen[head.index()];
    for (int row = 0; row < rows.count(); row++) {
      block.add(rows.slot(row), rows.first() + row);
    }
  }

  /** The lowest tap above another one; more than any tap if there is none. */
  public int nextTap(int above) {
    for (int tap : taps) {
      if (tap > above) {
        return tap;
      }
    }
    return Integer.MAX_VALUE;
  }

  public int lastTap() {
    return taps[taps.length - 1];
  }

  public boolean hasTap(int tap) {
    return Arrays.binarySearch(taps, tap) >= 0;
  }

  /** How many rows wait at a tap of its own. */
  public int pending(int tap) {
    return at(tap).count();
  }

  private HiddenStateSlots at(int tap) {
    return pending[Arrays.binarySearch(taps, tap)];
  }

  /** How many rows at its tap a head with attention has not seen. */
  public int unseen(Head head) {
    return unseen[head.index()].count();
  }

  /** Lets the in-flight rows wait at a tap of its own. */
  public void pendAt(int tap) {
    at(tap).moveFrom(inFlight);
  }

  /** Lets the rows that wait at a tap of its own move in front of those that do. */
  public void joinAt(int tap) {
    HiddenStateSlots rows = at(tap);
    if (rows.count() > 0) {
      rows.moveFrom(inFlight);
      inFlight.moveFrom(rows);
    }
  }

  /** Lets the in-flight rows go, which nobody needs further up. */
  public void leave() {
    inFlight.release(runner);
  }

  /**
   * Lets the in-flight rows go, whose keys and values have been propagated to all layers above a
   * tap.
   */
  public void dropPropagated(int tap, List<Head> heads) {
    for (int i = 0; i < heads.size(); i++) {
      Head head = heads.get(i);
      if (head.hasAttention() && head.tap() > tap) {
        keepFor(head);
      }
    }
    exactEnd = Math.min(exactEnd, inFlight.first());
    leave();
  }

  /** Lets what has not passed all layers go in again from layer 1. */
  public void restart() {
    leave();
    entered = complete[0];
  }

  /** Keeps copies of the in-flight rows for a head with attention until it is asked. */
  public void keepFor(Head head) {
    HiddenStateSlots rows = unseen[head.index()];
    for (int row = 0; row < inFlight.count(); row++) {
      int slot = runner.allocateSlot();
      runner.copy(inFlight.slot(row), slot);
      rows.append(inFlight.first() + row, slot);
    }
  }

  /** Tells that a head with attention has seen all rows up to those in flight. */
  public void seenBy(Head head) {
    unseen[head.index()].release(runner);
    seen[head.index()] = inFlight.end();
  }

  /**
   * Lets a draft head see all positions, from the first that goes in on, before which there are
   * zeros.
   */
  public void beginFinals() {
    int slot = runner.allocateSlot();
    runner.write(slot, new byte[runner.hiddenBytes()], 0);
    finals.append(entered - 1, slot);
  }

  /**
   * Lets the in-flight rows whose tokens stay wait for the draft head, and others go. Where many
   * wait, the first of them go, too, and it begins anew behind these.
   */
  public void leaveToDraftHead() {
    inFlight.cut(complete[0], runner);
    finals.moveFrom(inFlight);
    if (finals.count() > MOST_FINALS) {
      // The state of a position goes in with the token behind it.
      int least = finals.end() + 1 - MOST_FINALS;
      draftStart = Math.ceilDiv(least, ModelRunner.PAGE) * ModelRunner.PAGE;
      finals.cutBefore(draftStart - 1, runner);
    }
  }

  /**
   * The position that is the draft head's first, where a page begins: its keys and values begin
   * there, whatever those of earlier pages are.
   */
  public int draftStart() {
    return draftStart;
  }

  /** Final hidden states that the draft head has not seen, in whose place it puts its own. */
  public HiddenStateSlots finals() {
    return finals;
  }

  public void dropFinals() {
    finals.release(runner);
  }

  /** Tells that positions below {@code end} have keys and values at all layers of the trunk. */
  public void setComplete(int end) {
    complete[0] = end;
  }

  /** Positions with exact keys and values at all layers, and at all heads with attention in use. */
  public int complete() {
    int least = Math.min(complete[0], exactEnd);
    for (int head = 0; head < seen.length; head++) {
      if (hasAttention[head]) {
        least = Math.min(least, seen[head]);
      }
    }
    return least;
  }

  /** {@link #rollBack}, of rows in flight, too. */
  public void cut(int end) {
    inFlight.cut(end, runner);
    rollBack(end);
  }

  /** Forgets hidden states, keys and values of position {@code end} and beyond. */
  public void rollBack(int end) {
    entered = Math.min(entered, end);
    complete[0] = Math.min(complete[0], end);
    finals.cut(end, runner);
    for (HiddenStateSlots rows : pending) {
      rows.cut(end, runner);
    }
    for (int head = 0; head < seen.length; head++) {
      seen[head] = Math.min(seen[head], end);
      unseen[head].cut(end, runner);
    }
  }

  @Override
  public void close() {
    leave();
    dropFinals();
    for (HiddenStateSlots rows : pending) {
      rows.release(runner);
    }
    for (HiddenStateSlots rows : unseen) {
      rows.release(runner);
    }
  }
}
