package org.eellm.decode.token;

import java.util.Arrays;
import java.util.List;

/** The ids of a sequence so far, prompt and generated. */
public final class Tokens {
  private final int[] ids;
  private final int promptSize;
  private int size;

  /** A prompt, with room for {@code capacity} ids in all. */
  public Tokens(List<Integer> prompt, int capacity) {
    this(new int[capacity], prompt.size(), 0);
    prompt.forEach(this::append);
  }

  private Tokens(int[] ids, int promptSize, int size) {
    this.ids = ids;
    this.promptSize = promptSize;
    this.size = size;
  }

  public void append(int id) {
    ids[size++] = id;
  }

  /** Takes back all but the first {@code count} ids. */
  public void truncate(int count) {
    size = count;
  }

  /**
   * These and one more; they go on independently of these, until a token of another id follows
   * here.
   */
  public Tokens and(int id) {
    Tokens more = new Tokens(ids, promptSize, size);
    more.append(id);
    return more;
  }

  /** The first {@code count} ids; valid until these change. */
  public Tokens first(int count) {
    return count == size ? this : new Tokens(ids, promptSize, count);
  }

  /** The ids of positions from {@code first} up to {@code end}, without it. */
  public List<Integer> range(int first, int end) {
    return Arrays.stream(ids, first, end).boxed().toList();
  }

  /** The ids of positions from {@code first} up to {@code end}, without it, as an array. */
  public int[] ids(int first, int end) {
    return Arrays.copyOfRange(ids, first, end);
  }

  void copy(int first, int count, int[] to, int at) {
    System.arraycopy(ids, first, to, at, count);
  }

  public int promptSize() {
    return promptSize;
  }

  public int capacity() {
    return ids.length;
  }

  public int size() {
    return size;
  }

  public int get(int position) {
    if (position >= size) {
      throw new IndexOutOfBoundsException(position);
    }
    return ids[position];
  }
}
