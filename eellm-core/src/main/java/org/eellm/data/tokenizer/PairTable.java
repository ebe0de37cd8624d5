package org.eellm.data.tokenizer;

import java.util.Arrays;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The pairs of tokens that become one, and how early each was joined in training. Immutable once it
 * is filled; may then be shared by threads.
 */
final class PairTable {
  private static final long NONE = -1;

  /** Not known to whoever writes a file, whose pairs then fall on places of their own. */
  private static final long SECRET = ThreadLocalRandom.current().nextLong() | 1;

  private int mask;
  private long[] pairs; // each with its rank, above what it becomes, behind it
  private int size;

  /** A table with room for so many pairs at first. */
  PairTable(int most) {
    allocate(Integer.highestOneBit(Math.max(most, 1)) << 2);
  }

  private void allocate(int places) {
    mask = 2 * places - 2;
    pairs = new long[2 * places];
    Arrays.fill(pairs, NONE);
  }

  private static long pair(int left, int right) {
    return (long) left << Integer.SIZE | right;
  }

  /** The place of a pair, or the free one where it would be. */
  private int place(long pair) {
    int place = (int) ((pair ^ pair >>> 29) * SECRET >>> 31) & mask;
    while (pairs[place] != pair && pairs[place] != NONE) {
      place = place + 2 & mask;
    }
    return place;
  }

  /** Adds a pair that is joined after all others, one that is there already, too. */
  void add(int left, int right, int whole) {
    int place = place(pair(left, right));
    pairs[place] = pair(left, right);
    pairs[place + 1] = pair(size++, whole);
    if (8L * size > 3L * pairs.length) {
      grow();
    }
  }

  private void grow() {
    long[] allPairs = pairs;
    allocate(allPairs.length);
    for (int i = 0; i < allPairs.length; i += 2) {
      if (allPairs[i] != NONE) {
        int place = place(allPairs[i]);
        pairs[place] = allPairs[i];
        pairs[place + 1] = allPairs[i + 1];
      }
    }
  }

  /**
   * Joins neighbours, the pair of the lowest rank first, of several the leftmost.
   *
   * @param ids tokens, which are replaced by those that they are joined to
   * @param count of the tokens
   * @return how many they are then
   */
  int join(int[] ids, int count) {
    if (count < 2) {
      return count;
    }
    int[] next = new int[count];
    int[] previous = new int[count];
    Heap heap = new Heap(count);
    for (int at = 0; at < count; at++) {
      next[at] = at + 1;
      previous[at] = at - 1;
      if (at > 0) {
        offer(heap, at - 1, ids[at - 1], ids[at]);
      }
    }
    while (heap.size > 0) {
      long first = heap.remove();
      int at = (int) first;
      int other = ids[at] < 0 ? count : next[at];
      if (other >= count) {
        continue;
      }
      int place = place(pair(ids[at], ids[other]));
      if (pairs[place] == NONE || pairs[place + 1] >>> Integer.SIZE != first >>> Integer.SIZE) {
        continue; // one of the two was joined to another
      }
      ids[at] = (int) pairs[place + 1];
      ids[other] = -1;
      next[at] = next[other];
      if (next[at] < count) {
        previous[next[at]] = at;
        offer(heap, at, ids[at], ids[next[at]]);
      }
      if (previous[at] >= 0) {
        offer(heap, previous[at], ids[previous[at]], ids[at]);
      }
    }
    int left = 0;
    for (int at = 0; at < count; at = next[at]) {
      ids[left++] = ids[at];
    }
    return left;
  }

  private void offer(Heap heap, int at, int left, int right) {
    int place = place(pair(left, right));
    if (pairs[place] != NONE) {
      heap.add(pairs[place + 1] >>> Integer.SIZE << Integer.SIZE | at);
    }
  }

  /** Numbers, of which the least can be taken. */
  private static final class Heap {
    private long[] values;
    private int size;

    Heap(int capacity) {
      values = new long[capacity];
    }

    void add(long value) {
      if (size == values.length) {
        values = Arrays.copyOf(values, 2 * size);
      }
      int at = size++;
      while (at > 0 && values[(at - 1) / 2] > value) {
        values[at] = values[(at - 1) / 2];
        at = (at - 1) / 2;
      }
      values[at] = value;
    }

    long remove() {
      long least = values[0];
      long last = values[--size];
      int at = 0;
      for (int child = 1; child < size; child = 2 * at + 1) {
        child += child + 1 < size && values[child + 1] < values[child] ? 1 : 0;
        if (values[child] >= last) {
          break;
        }
        values[at] = values[child];
        at = child;
      }
      values[at] = last;
      return least;
    }
  }
}
