package org.eellm.decode.precedent;

import java.util.Arrays;

/**
 * What the full model held most probable after two tokens, when it last saw them: a table that
 * fills while the engine works, from every row that the final head judges, those behind a wrong
 * draft among them (Token Recycling, arXiv 2408.08696). Pairs share places, and the newest has its
 * place; so memory is bounded, and what is rare goes.
 */
public final class RecycledTable {
  /** Where nothing is known of a pair. */
  static final int NONE = -1;

  /** Times in a row that a pair led to its token, above which no more are told apart. */
  static final int MOST_SURE = 7;

  private static final int BITS = 16;

  /** Of a table. */
  public static final long BYTES = (1L << BITS) * (Long.BYTES + Integer.BYTES + Byte.BYTES);

  private static final long GOLDEN = 0x9E3779B97F4A7C15L;

  private final long[] pairs = new long[1 << BITS];
  private final int[] followers = new int[1 << BITS];
  private final byte[] sureness = new byte[1 << BITS];

  public RecycledTable() {
    Arrays.fill(pairs, NONE);
  }

  private static long pair(int first, int second) {
    return (long) first << Integer.SIZE | second;
  }

  private static int place(long pair) {
    return (int) (pair * GOLDEN >>> Long.SIZE - BITS);
  }

  /** Takes what the model holds most probable after two tokens. */
  public void learn(int first, int second, int best) {
    long pair = pair(first, second);
    int place = place(pair);
    if (pairs[place] == pair && followers[place] == best) {
      sureness[place] = (byte) Math.min(MOST_SURE, sureness[place] + 1);
    } else if (pairs[place] == pair && sureness[place] > 1) {
      sureness[place] /= 2;
    } else {
      pairs[place] = pair;
      followers[place] = best;
      sureness[place] = 0;
    }
  }

  /** The place of a pair, or {@link #NONE}. */
  int find(int first, int second) {
    long pair = pair(first, second);
    int place = place(pair);
    return pairs[place] == pair ? place : NONE;
  }

  /** The token that followed the pair at a place. */
  int follower(int place) {
    return followers[place];
  }

  /** How sure that is, up to {@link #MOST_SURE}. */
  int sureness(int place) {
    return sureness[place];
  }
}
