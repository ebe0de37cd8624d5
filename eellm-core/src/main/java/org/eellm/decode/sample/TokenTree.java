package org.eellm.decode.sample;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Comparator;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.grammar.Language;

/**
 * A tokenizer's vocabulary in the order of its bytes, so that what many tokens begin with is looked
 * at once. Special tokens, which add nothing to a text, are not in it unless a grammar names them.
 */
final class TokenTree {
  private final byte[][] byId;
  private final int[] ids; // in the order of their bytes
  private final byte[][] bytes;
  private final int[] shared; // bytes with the token before
  private final int longest;

  /**
   * @param named special tokens that count as their names
   */
  TokenTree(Tokenizer tokenizer, Set<Integer> named) {
    int size = tokenizer.vocabSize();
    byId = new byte[size][];
    Arrays.setAll(
        byId,
        id ->
            named.contains(id)
                ? tokenizer.piece(id).getBytes(StandardCharsets.UTF_8)
                : tokenizer.bytes(id));
    ids =
        IntStream.range(0, size)
            .filter(id -> byId[id].length > 0)
            .boxed()
            .sorted(
                Comparator.comparing((Integer id) -> byId[id], Arrays::compareUnsigned)
                    .thenComparing(Comparator.naturalOrder()))
            .mapToInt(Integer::intValue)
            .toArray();
    bytes = Arrays.stream(ids).mapToObj(id -> byId[id]).toArray(byte[][]::new);
    shared = new int[ids.length];
    for (int i = 1; i < ids.length; i++) {
      int mismatch = Arrays.mismatch(bytes[i - 1], bytes[i]);
      shared[i] = mismatch < 0 ? bytes[i].length : mismatch;
    }
    longest = Arrays.stream(bytes).mapToInt(each -> each.length).max().orElse(0);
  }

  int longest() {
    return longest;
  }

  int size() {
    return byId.length;
  }

  /** The ids whose bytes may follow, 64 to a number. */
  long[] allowed(Language state) {
    long[] allowed = new long[(byId.length + 63) / 64];
    Language[] path = new Language[longest + 1];
    path[0] = state;
    int depth = 0; // bytes of the last token that may follow
    for (int i = 0; i < ids.length; i++) {
      if (shared[i] > depth) {
        continue; // it has the byte that may not follow
      }
      byte[] token = bytes[i];
      depth = shared[i];
      while (depth < token.length) {
        Language next = path[depth].after(token[depth]);
        if (next.isNothing()) {
          break;
        }
        path[++depth] = next;
      }
      if (depth == token.length) {
        allowed[ids[i] >> 6] |= 1L << ids[i];
      }
    }
    return allowed;
  }

  /** The longest token that some bytes begin with; -1 if there is none. */
  int longestPrefix(byte[] text) {
    for (int length = Math.min(longest, text.length); length > 0; length--) {
      int place = place(Arrays.copyOf(text, length));
      if (place >= 0) {
        return ids[place];
      }
    }
    return -1;
  }

  private int place(byte[] token) {
    int found = Arrays.binarySearch(bytes, token, Arrays::compareUnsigned);
    while (found >= 0 && found + 1 < bytes.length && Arrays.equals(bytes[found + 1], token)) {
      found++;
    }
    return found;
  }

  /** The bytes of an id; none of a special token. */
  byte[] bytes(int id) {
    return byId[id];
  }
}
