package org.eellm.data.tokenizer;

import java.util.Arrays;

/**
 * The pairs of tokens that become one, and how early each was joined in training. Immutable once it
 * is filled; may then be shared by threads.
 */
final class PairTable {
  private static final long NONE = -1;

  private int mask;
  private long[] pairs;
  private int[] ranks;
  private int[] wholes;
  private int size;

  /** A table with room for so many pairs at first. */
  PairTable(int most) {
    allocate(Integer.highestOneBit(Math.max(most, 1)) << 2);
  }

  private void allocate(int places) {
    mask = places - 1;
    pairs = new long[places];
    ranks = new int[places];
    wholes = new int[places];
    Arrays.fill(pairs, NONE);
  }

  private static long pair(int left, int right) {
    return (long) left << Integer.SIZE | right;
  }

  /** The place of a pair, or the free one where it would be. */
  private int place(long pair) {
    int place = (int) (pair * 0x9E3779B97F4A7C15L >>> 32) & mask;
    while (pairs[place] != pair && pairs[place] != NONE) {
      place = place + 1 & mask;
    }
    return place;
  }

  /** Adds a pair that is joined after all others, one that is there already, too. */
  void add(int left, int right, int whole) {
    int place = place(pair(left, right));
    pairs[place] = pair(left, right);
    ranks[place] = size++;
    wholes[place] = whole;
    if (4L * size > 3L * pairs.length) {
      grow();
    }
  }

  private void grow() {
    long[] allPairs = pairs;
    int[] allRanks = ranks;
    int[] allWholes = wholes;
    allocate(2 * allPairs.length);
    for (int i = 0; i < allPairs.length; i++) {
      if (allPairs[i] != NONE) {
        int place = place(allPairs[i]);
        pairs[place] = allPairs[i];
        ranks[place] = allRanks[i];
        wholes[place] = allWholes[i];
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
      if (pairs[place] == NONE || ranks[place] != (int) (first >>> Integer.SIZE)) {
        continue; // one of the two was joined to another
      }
      ids[at] = wholes[place];
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
      heap.add((long) ranks[place] << Integer.SIZE | at);
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
