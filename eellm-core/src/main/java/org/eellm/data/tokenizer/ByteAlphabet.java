package org.eellm.data.tokenizer;

import java.util.Arrays;
import java.util.Optional;

/**
 * GPT-2's way to write any byte as one visible character, so that the tokens of a byte-level
 * vocabulary are text: printable Latin-1 stands for itself, the other 68 bytes for the characters
 * from U+0100 on, in order. A blank, for example, is {@code Ġ}.
 */
final class ByteAlphabet {
  private static final char[] CHARACTERS = new char[256];
  private static final int[] BYTES = new int[512];

  static {
    Arrays.fill(BYTES, -1);
    int next = 256;
    for (int value = 0; value < 256; value++) {
      boolean visible = (value > ' ' && value <= '~') || (value >= 0xA1 && value != 0xAD);
      CHARACTERS[value] = (char) (visible ? value : next++);
      BYTES[CHARACTERS[value]] = value;
    }
  }

  private ByteAlphabet() {}

  /** The character that stands for a byte, 0 to 255. */
  static char character(int value) {
    return CHARACTERS[value];
  }

  /** The piece that stands for bytes. */
  static String piece(byte[] bytes) {
    StringBuilder piece = new StringBuilder(bytes.length);
    for (byte value : bytes) {
      piece.append(CHARACTERS[value & 0xFF]);
    }
    return piece.toString();
  }

  /** The bytes that a piece stands for; empty if it has a character outside the alphabet. */
  static Optional<byte[]> bytes(String piece) {
    byte[] bytes = new byte[piece.length()];
    for (int i = 0; i < bytes.length; i++) {
      char character = piece.charAt(i);
      int value = character < BYTES.length ? BYTES[character] : -1;
      if (value < 0) {
        return Optional.empty();
      }
      bytes[i] = (byte) value;
    }
    return Optional.of(bytes);
  }
}
