package org.eellm.data.tokenizer;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.IntBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.BitSet;
import java.util.Deque;

/**
 * The characters that SentencePiece replaces, compiled: the bytes of a double-array trie, before
 * them their number, and behind them the replacements, each with a zero at its end. Libraries walk
 * through it without looking where they tread.
 *
 * @param trie units; from a base on, a byte goes to the unit at their exclusive or, if that has its
 *     label
 * @param texts the replacements
 */
record CompiledMap(IntBuffer trie, ByteBuffer texts) {
  /** Characters of a replacement; those of compatible composition (NFKC) have up to 18. */
  private static final int MAX_LENGTH = 32;

  private static final int LABEL = 1 << 31 | 0xFF;
  private static final int BLOCK = 0xFF;

  /** Why a map is not taken, as what is said behind it. */
  static final class MapException extends Exception {
    private MapException(String message) {
      super(message);
    }
  }

  /**
   * Checks that no text leads out of a map, or becomes much longer by it.
   *
   * @throws MapException if one may
   */
  static void requireBounded(byte[] content) throws MapException {
    ByteBuffer bytes = ByteBuffer.wrap(content).order(ByteOrder.LITTLE_ENDIAN);
    int length = content.length < Integer.BYTES ? 0 : bytes.getInt();
    if (length <= 0 || length % Integer.BYTES != 0 || length > bytes.remaining()) {
      throw new MapException("has no trie of the length that it tells");
    }
    IntBuffer trie =
        bytes.slice(Integer.BYTES, length).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer();
    ByteBuffer texts = bytes.position(Integer.BYTES + length).slice();
    try {
      StandardCharsets.UTF_8.newDecoder().decode(texts.duplicate());
    } catch (CharacterCodingException e) {
      throw new MapException("has replacements that are not UTF-8");
    }
    new CompiledMap(trie, texts).requireBounded();
  }

  private void requireBounded() throws MapException {
    BitSet seen = new BitSet();
    Deque<Integer> bases = new ArrayDeque<>();
    bases.add(offset(trie.get(0)));
    while (!bases.isEmpty()) {
      int base = bases.remove();
      if (base < 0 || (base | BLOCK) >= trie.limit()) {
        throw new MapException("leads out of its trie");
      }
      for (int label = 1; label <= BLOCK; label++) {
        int place = base ^ label;
        int unit = trie.get(place);
        if ((unit & LABEL) != label || seen.get(place)) {
          continue;
        }
        seen.set(place);
        int next = place ^ offset(unit);
        bases.add(next);
        if ((unit >>> 8 & 1) == 1 && next >= 0 && next < trie.limit()) {
          requireShort(trie.get(next) & Integer.MAX_VALUE);
        }
      }
    }
  }

  private static int offset(int unit) {
    return unit >>> 10 << ((unit & 1 << 9) >>> 6);
  }

  private void requireShort(int from) throws MapException {
    if (from >= texts.limit() || isInside(texts.get(from))) {
      throw new MapException("leads out of its replacements");
    }
    int length = 0;
    for (int at = from; at < texts.limit() && texts.get(at) != 0; at++) {
      length += isInside(texts.get(at)) ? 0 : 1;
    }
    if (length > MAX_LENGTH) {
      throw new MapException("has a replacement of more than " + MAX_LENGTH + " characters");
    }
  }

  /** Whether a byte goes on with a character. */
  private static boolean isInside(byte value) {
    return (value & 0xC0) == 0x80;
  }
}
