package org.eellm.data.tokenizer;

import java.util.Arrays;

/**
 * Words that were met, with their tokens, side by side in one array: most words of a text were met
 * before, and finding one takes less time than the processor takes to follow a reference. Used by
 * one thread at a time.
 */
final class KnownWords {
  /** Characters of a word. Longer ones are rare. */
  static final int LONGEST = 32;

  private static final int PLACES = 1 << 18;
  private static final int TRIES = 4; // places of a word
  private static final int HEAD = 2; // the hash; the word's length, below the number of its tokens
  private static final int SMALL = 1 << 12;

  /** Forgetting costs more than what misses the nearer caches. */
  private static final int MOST =
      most(Runtime.getRuntime().maxMemory(), Runtime.getRuntime().availableProcessors());

  private final int[] places = new int[PLACES]; // where a word's head is; 0 is free
  private int[] words = new int[SMALL]; // heads, characters, tokens
  private int end = 1;

  /**
   * The length of {@link #words} at which all threads' take at most 1/64 of a heap, or 1 MiB each.
   */
  static int most(long heapBytes, int threads) {
    return Math.clamp(heapBytes / 64 / threads / Integer.BYTES, 1 << 18, 1 << 22);
  }

  /** Adds the tokens of a word to a list; false if the word is not known. */
  boolean addTokens(String text, int from, int to, BytePairEncoder.Ids tokens) {
    int hash = hash(text, from, to);
    for (int i = 0; i < TRIES; i++) {
      int head = places[hash + i & PLACES - 1];
      if (head == 0) {
        return false;
      }
      if (words[head] == hash && isWord(head, text, from, to)) {
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

  private boolean isWord(int head, String text, int from, int to) {
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
  void put(String word, int[] tokens) {
    int length = word.length();
    int next = end + HEAD + length + tokens.length;
    if (next > MOST) {
      Arrays.fill(places, 0);
      end = 1;
      put(word, tokens);
      return;
    }
    if (next > words.length) {
      words = Arrays.copyOf(words, 2 * words.length);
    }
    int hash = hash(word, 0, length);
    int tries = 0;
    while (tries < TRIES - 1 && places[hash + tries & PLACES - 1] != 0) {
      tries++;
    }
    places[hash + tries & PLACES - 1] = end;
    words[end] = hash;
    words[end + 1] = tokens.length << Short.SIZE | length;
    for (int i = 0; i < length; i++) {
      words[end + HEAD + i] = word.charAt(i);
    }
    System.arraycopy(tokens, 0, words, end + HEAD + length, tokens.length);
    end = next;
  }
}
