package org.eellm.decode.precedent;

import java.util.Arrays;
import org.eellm.decode.token.Tokens;

/**
 * The newest replies of an engine, and an index of their suffixes: where the last 16, 8 or 4 tokens
 * of a text were seen last (SuffixDecoding, arXiv 2411.04975, keeps a suffix tree; the newest place
 * of three lengths is what {@link Precedent#ofLength} tells apart, at a fixed cost a token). A
 * ring: the oldest replies make room.
 */
public final class RecentReplies {
  /** Tokens by default: some thousand replies, 28 MB with the index. */
  public static final int MOST = 1 << 20;

  /** Of that many tokens, with the index. */
  public static final long MOST_BYTES = (long) MOST * Integer.BYTES * (1 + 2 * 3);

  private static final int FIRST = 1 << 10;

  /** Between replies; where one ends. */
  private static final int END = Precedent.NONE;

  /** Tokens of a prompt's end that are kept: they lead to how the reply begins. */
  private static final int PROMPT = Precedent.MAX_MATCH;

  /** Lengths of suffixes that are indexed. */
  private static final int[] LENGTHS = {4, 8, Precedent.MAX_MATCH};

  private static final int GOLDEN = 0x9E3779B9;

  private final int most;
  private int[] ids = new int[0];
  private int[][] newest = new int[LENGTHS.length][0]; // by hash: a place and one, 0 for none
  private long written;

  /**
   * @param most tokens, a power of two
   */
  public RecentReplies(int most) {
    this.most = most;
  }

  /**
   * Adds a reply.
   *
   * @param tokens of prompt and reply
   * @param end of the reply; tokens behind are drafts
   */
  public void add(Tokens tokens, int end) {
    int from = Math.max(Math.max(0, tokens.promptSize() - PROMPT), end - most / 2);
    makeRoom(end - from + 1);
    for (int position = from; position < end; position++) {
      write(tokens.get(position));
    }
    write(END);
  }

  private void makeRoom(int count) {
    int room = Math.max(FIRST, ids.length);
    while (room < most && room < written + count) {
      room *= 2;
    }
    if (room > ids.length) {
      int[] before = ids;
      int size = (int) written;
      ids = new int[room];
      Arrays.fill(ids, END);
      newest = new int[LENGTHS.length][2 * room];
      written = 0;
      for (int i = 0; i < size; i++) {
        write(before[i]);
      }
    }
  }

  private void write(int id) {
    int place = (int) written & ids.length - 1;
    ids[place] = id;
    if (id != END) {
      index(place);
    }
    written++;
  }

  /** Enters a place by the tokens before it. */
  private void index(int place) {
    int hash = 0;
    int length = 0;
    for (int i = 0; i < LENGTHS.length; i++) {
      for (; length < LENGTHS[i]; length++) {
        int before = length < written ? at(place - 1 - length) : END;
        if (before == END) {
          return;
        }
        hash = mix(hash, before);
      }
      newest[i][slot(hash)] = place + 1;
    }
  }

  private static int mix(int hash, int id) {
    return Integer.rotateLeft((hash ^ id) * GOLDEN, 15);
  }

  private int slot(int hash) {
    return hash * GOLDEN >>> Integer.numberOfLeadingZeros(2 * ids.length - 1);
  }

  /**
   * The token at a place, which may be beyond the last one: the ring goes on; below 0 at an end.
   */
  int at(int place) {
    return ids[place & ids.length - 1];
  }

  /** The newest place behind the longest indexed suffix of a text; below 0 if there is none. */
  int find(Outlook text) {
    int found = Precedent.NONE;
    int hash = 0;
    int length = 0;
    for (int i = 0; i < LENGTHS.length && ids.length > 0 && text.has(LENGTHS[i]); i++) {
      for (; length < LENGTHS[i]; length++) {
        hash = mix(hash, text.last(length + 1));
      }
      int place = newest[i][slot(hash)] - 1;
      if (place >= 0 && matchLength(text, place) >= LENGTHS[i]) {
        found = place;
      }
    }
    return found;
  }

  /** How many tokens before a place are the text's last ones, up to the longest that counts. */
  int matchLength(Outlook text, int place) {
    int length = 0;
    while (length < Precedent.MAX_MATCH
        && text.has(length + 1)
        && at(place - 1 - length) == text.last(length + 1)) {
      length++;
    }
    return length;
  }
}
