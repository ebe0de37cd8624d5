package org.eellm.data.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The pieces of a vocabulary and their ids, without an object for each. Immutable once it is
 * filled; may then be shared by threads.
 */
final class Pieces {
  static final int NONE = -1;

  /** Not known to whoever writes a file, whose pieces then fall on places of their own. */
  private static final int SECRET = ThreadLocalRandom.current().nextInt() | 1;

  private byte[] letters;
  private int[] ends; // of the pieces in letters, in the order in which they came
  private int[] ids; // in the same order
  private int[] table; // a piece's number plus 1 at its hash; 0 is free
  private int[] numbers; // by id, plus 1
  private int size;
  private int most; // above all ids

  /** No pieces, with room for about so many. */
  Pieces(int expected) {
    letters = new byte[8 * expected];
    ends = new int[expected];
    ids = new int[expected];
    numbers = new int[expected];
    table = new int[Integer.highestOneBit(expected) << 2];
  }

  int size() {
    return size;
  }

  /** The number above all ids. */
  int idsEnd() {
    return most;
  }

  private static int hash(byte[] bytes, int from, int to) {
    int hash = 0;
    for (int i = from; i < to; i++) {
      hash = SECRET * hash + bytes[i];
    }
    hash *= 0x9E3779B9;
    return hash ^ hash >>> 15;
  }

  /** The place of a piece in the table, or the free one where it would be. */
  private int place(byte[] bytes, int from, int to) {
    int place = hash(bytes, from, to) & table.length - 1;
    while (table[place] != 0 && !isThere(table[place] - 1, bytes, from, to)) {
      place = place + 1 & table.length - 1;
    }
    return place;
  }

  private boolean isThere(int number, byte[] bytes, int from, int to) {
    return Arrays.equals(letters, begin(number), ends[number], bytes, from, to);
  }

  private int begin(int number) {
    return number == 0 ? 0 : ends[number - 1];
  }

  /**
   * Adds a piece of these bytes.
   *
   * @return whether piece and id are both new; if not, nothing is added
   */
  boolean add(byte[] bytes, int from, int to, int id) {
    int place = place(bytes, from, to);
    if (table[place] != 0 || (id < numbers.length && numbers[id] != 0)) {
      return false;
    }
    int begin = size == 0 ? 0 : ends[size - 1];
    if (begin + to - from > letters.length) {
      letters = Arrays.copyOf(letters, Math.max(2 * letters.length, begin + to - from));
    }
    if (size == ends.length) {
      ends = Arrays.copyOf(ends, 2 * size);
      ids = Arrays.copyOf(ids, 2 * size);
    }
    if (id >= numbers.length) {
      numbers = Arrays.copyOf(numbers, Math.max(2 * numbers.length, id + 1));
    }
    System.arraycopy(bytes, from, letters, begin, to - from);
    ends[size] = begin + to - from;
    ids[size] = id;
    table[place] = ++size;
    numbers[id] = size;
    most = Math.max(most, id + 1);
    if (4 * size > 3 * table.length) {
      grow();
    }
    return true;
  }

  private void grow() {
    table = new int[2 * table.length];
    for (int number = 0; number < size; number++) {
      table[place(letters, begin(number), ends[number])] = number + 1;
    }
  }

  /** The id of a piece of these bytes; {@link #NONE} if there is none. */
  int id(byte[] bytes, int from, int to) {
    int number = table[place(bytes, from, to)];
    return number == 0 ? NONE : ids[number - 1];
  }

  /** The id of a piece; {@link #NONE} if there is none. */
  int id(String piece) {
    byte[] bytes = piece.getBytes(StandardCharsets.UTF_8);
    return id(bytes, 0, bytes.length);
  }

  boolean contains(String piece) {
    return id(piece) != NONE;
  }

  /** Whether a piece has a character behind others than itself. */
  boolean haveInside(String character) {
    byte[] bytes = character.getBytes(StandardCharsets.UTF_8);
    int length = bytes.length;
    for (int number = 0; number < size; number++) {
      int begin = begin(number);
      for (int at = begin + 1; at + length <= ends[number]; at++) {
        if (letters[at] == bytes[0]
            && Arrays.equals(letters, at, at + length, bytes, 0, length)
            && !(at - length >= begin
                && Arrays.equals(letters, at - length, at, bytes, 0, length))) {
          return true;
        }
      }
    }
    return false;
  }

  /** Whether an id has a piece. */
  boolean has(int id) {
    return id < numbers.length && numbers[id] != 0;
  }

  /** The piece of an id that has one. */
  String piece(int id) {
    int number = numbers[id] - 1;
    return new String(letters, begin(number), ends[number] - begin(number), StandardCharsets.UTF_8);
  }
}
