package org.eellm.generate;

import java.util.Arrays;
import java.util.List;

/** The ids of a sequence so far, prompt and generated. */
public final class Tokens {
  private final int[] ids;
  private int size;

  /** A prompt, with room for {@code capacity} ids in all. */
  Tokens(List<Integer> prompt, int capacity) {
    ids = new int[capacity];
    prompt.forEach(this::append);
  }

  void append(int id) {
    ids[size++] = id;
  }

  /** Number of ids. */
  public int size() {
    return size;
  }

  /** The id at a position, from 0. */
  public int get(int position) {
    if (position >= size) {
      throw new IndexOutOfBoundsException(position);
    }
    return ids[position];
  }

  /** The different ids, ascending. */
  public int[] distinct() {
    return Arrays.stream(ids, 0, size).sorted().distinct().toArray();
  }
}
