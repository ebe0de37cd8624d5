package org.eellm.data.tokenizer;

import java.lang.invoke.VarHandle;
import java.util.Arrays;

/**
 * Words that were met, with their tokens, side by side in one array: most words of a text were met
 * before, and finding one takes less time than the processor takes to follow a reference. Used by
 * many threads: what one has learned all know.
 */
final class KnownWords {
  /** Characters of a word. Longer ones are rare. */
  static final int LONGEST = 32;

  private static final int TRIES = 4; // places of a word
  private static final int HEAD = 2; // the hash; the word's length, below the number of its tokens
  private static final int SMALL = 1 << 12;
  private static final int LENGTH_OF_A_WORD = 8; // in the array, rather less than most

  /** Forgetting costs more than what misses the nearer caches. */
  private static final int MOST = most(Runtime.getRuntime().maxMemory());

  /**
   * Where words are found. Words are only added; no one who reads waits.
   *
   * @param places where a word's head is; 0 is free
   * @param words heads, characters, tokens
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  private record Table(int[] places, int[] words) {
    static Table of(int[] words) {
      return new Table(new int[words.length / LENGTH_OF_A_WORD], words);
    }

    /** Lets a word be found that lies behind all others. */
    void place(int head) {
      int hash = words[head];
      int tries = 0;
      while (tries < TRIES - 1 && places[hash + tries & places.length - 1] != 0) {
        tries++;
      }
      places[hash + tries & places.length - 1] = head;
    }

    int next(int head) {
      return head + HEAD + (words[head + 1] & 0xFFFF) + (words[head + 1] >>> Short.SIZE);
    }
  }

  private volatile Table table = Table.of(new int[SMALL]);
  private int end = 1;

  /** The length of a table's words at which they take at most 1/64 of a heap, or 1 MiB. */
  static int most(long heapBytes) {
    return Math.clamp(heapBytes / 64 / Integer.BYTES, 1 << 18, 1 << 22);
  }

  /** Adds the tokens of a word to a list; false if the word is not known. */
  boolean addTokens(String text, int from, int to, BytePairEncoder.Ids tokens) {
    Table table = this.table;
    int[] places = table.places;
    int[] words = table.words;
    int hash = hash(text, from, to);
    for (int i = 0; i < TRIES; i++) {
      int head = places[hash + i & places.length - 1];
      if (head == 0) {
        return false;
      }
      VarHandle.loadLoadFence(); // what is there was written before its place
      if (words[head] == hash && isWord(words, head, text, from, to)) {
        int first = head + HEAD + to - from;
        tokens.add(words, first, first + (words[head + 1] >>> Short.SIZE));
        return true;
      }
    }
    return false;
  }

  private static int hash(String text, int from, int to) {
    int hash = to - from;
    for (int at = from; at < to; at++) {
      hash = 31 * hash + text.charAt(at);
    }
    return hash ^ hash >>> 15;
  }

  private static boolean isWord(int[] words, int head, String text, int from, int to) {
    if ((words[head + 1] & 0xFFFF) != to - from) {
      return false;
    }
    int place = head + HEAD;
    for (int at = from; at < to; at++) {
      if (words[place++] != text.charAt(at)) {
        return false;
      }
    }
    return true;
  }

  /** Remembers a word. When there are too many, all are forgotten. */
  synchronized void put(String word, int[] tokens) {
    int length = word.length();
    int next = end + HEAD + length + tokens.length;
    if (next > MOST) {
      table = Table.of(new int[SMALL]);
      end = 1;
      next = end + HEAD + length + tokens.length;
    }
    if (next > table.words.length) {
      grow();
    }
    int[] words = table.words;
    words[end] = hash(word, 0, length);
    words[end + 1] = tokens.length << Short.SIZE | length;
    for (int i = 0; i < length; i++) {
      words[end + HEAD + i] = word.charAt(i);
    }
    System.arraycopy(tokens, 0, words, end + HEAD + length, tokens.length);
    VarHandle.storeStoreFence();
    table.place(end);
    end = next;
  }

  private void grow() {
    Table larger = Table.of(Arrays.copyOf(table.words, 2 * table.words.length));
    for (int head = 1; head < end; head = larger.next(head)) {
      larger.place(head);
    }
    table = larger;
  }
}
