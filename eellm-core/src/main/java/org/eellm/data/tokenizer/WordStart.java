package org.eellm.data.tokenizer;

import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalInt;

/** Turns a word into the tokens that pairs are made of. */
sealed interface WordStart {
  /** The tokens of a word, in an array of their number. */
  int[] tokens(String word);

  /** How the vocabulary spells a word. */
  String piece(String word);

  /**
   * A token for each byte.
   *
   * @param ids by byte
   */
  @SuppressWarnings("ArrayRecordComponent") // compared by nobody
  record Bytes(int[] ids) implements WordStart {
    /** Of a vocabulary; empty if it lacks a byte. */
    static Optional<WordStart> of(Pieces pieces) {
      int[] ids = new int[256];
      for (int value = 0; value < ids.length; value++) {
        ids[value] = pieces.id(String.valueOf(ByteAlphabet.character(value)));
        if (ids[value] == Pieces.NONE) {
          return Optional.empty();
        }
      }
      return Optional.of(new Bytes(ids));
    }

    @Override
    public int[] tokens(String word) {
      byte[] bytes = word.getBytes(StandardCharsets.UTF_8);
      int[] tokens = new int[bytes.length];
      for (int i = 0; i < tokens.length; i++) {
        tokens[i] = ids[bytes[i] & 0xFF];
      }
      return tokens;
    }

    @Override
    public String piece(String word) {
      return ByteAlphabet.piece(word.getBytes(StandardCharsets.UTF_8));
    }
  }

  /**
   * A token for each character; for one that has none, those of its bytes, or the unknown one.
   *
   * @param unknown absent leaves such characters out
   * @param fuses whether several unknown characters after each other are one token
   * @param byBytes whether bytes are tried first
   */
  record Characters(
      Pieces pieces, OptionalInt unknown, boolean fuses, boolean byBytes)
      implements WordStart {

    @Override
    public int[] tokens(String word) {
      int[] tokens = new int[4 * word.length()];
      int count = 0;
      boolean behindUnknown = false;
      for (int at = 0; at < word.length(); at += Character.charCount(word.codePointAt(at))) {
        String character = Character.toString(word.codePointAt(at));
        int id = pieces.id(character);
        if (id != Pieces.NONE) {
          tokens[count++] = id;
        }
        int bytes = id == Pieces.NONE && byBytes ? bytes(character, tokens, count) : 0;
        count += bytes;
        boolean isUnknown = id == Pieces.NONE && bytes == 0;
        if (isUnknown && unknown.isPresent() && !(fuses && behindUnknown)) {
          tokens[count++] = unknown.getAsInt();
        }
        behindUnknown = isUnknown;
      }
      return Arrays.copyOf(tokens, count);
    }

    /** Writes the tokens of a character's bytes, and gives their number; 0 if one is missing. */
    private int bytes(String character, int[] tokens, int from) {
      byte[] bytes = character.getBytes(StandardCharsets.UTF_8);
      for (int i = 0; i < bytes.length; i++) {
        tokens[from + i] = pieces.id("<0x%02X>".formatted(bytes[i]));
        if (tokens[from + i] == Pieces.NONE) {
          return 0;
        }
      }
      return bytes.length;
    }

    @Override
    public String piece(String word) {
      return word;
    }
  }
}
