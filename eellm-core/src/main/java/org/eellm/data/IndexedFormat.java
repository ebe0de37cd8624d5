package org.eellm.data;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Megatron's indexed dataset. {@code .bin} holds the tokens of all sequences back to back; {@code
 * .idx} holds, little endian and without gaps:
 *
 * <pre>
 *  9 bytes  "MMIDIDX" and two zeros
 *  8        version, 1
 *  1        code of the token type
 *  8        N, number of sequences
 *  8        D, number of document boundaries, one more than documents
 *  4 N      length of each sequence in tokens
 *  8 N      offset of each sequence in .bin, in bytes
 *  8 D      sequence at which each document starts, and the number of sequences
 * </pre>
 */
final class IndexedFormat {
  static final byte[] MAGIC = "MMIDIDX\0\0".getBytes(StandardCharsets.US_ASCII);
  static final long VERSION = 1;
  static final int HEADER_BYTES = 34;

  static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  /** How a token is stored, of the types that the format knows those that can hold one. */
  enum TokenType {
    UINT8(1, 1),
    INT8(2, 1),
    INT16(3, 2),
    INT32(4, 4),
    INT64(5, 8),
    UINT16(8, 2);

    final int code;
    final int bytes;

    TokenType(int code, int bytes) {
      this.code = code;
      this.bytes = bytes;
    }

    /** The type that Megatron's writer takes. */
    static TokenType forVocabulary(int vocabSize) {
      return vocabSize < 65_500 ? UINT16 : INT32;
    }

    /** The largest token that can be stored. */
    int most() {
      return switch (this) {
        case UINT8 -> 0xff;
        case INT8 -> Byte.MAX_VALUE;
        case INT16 -> Short.MAX_VALUE;
        case UINT16 -> 0xffff;
        case INT32, INT64 -> Integer.MAX_VALUE;
      };
    }

    /** Whether numbers below 0 can be stored, too. */
    boolean isSigned() {
      return this != UINT8 && this != UINT16;
    }

    /** The token at a byte offset; of an {@code INT64} that is no int, -1, which is no token. */
    int read(MemorySegment tokens, long offset) {
      return switch (this) {
        case UINT8 -> Byte.toUnsignedInt(tokens.get(ValueLayout.JAVA_BYTE, offset));
        case INT8 -> tokens.get(ValueLayout.JAVA_BYTE, offset);
        case INT16 -> tokens.get(SHORT, offset);
        case INT32 -> tokens.get(INT, offset);
        case INT64 -> {
          long token = tokens.get(LONG, offset);
          yield token == (int) token ? (int) token : -1;
        }
        case UINT16 -> Short.toUnsignedInt(tokens.get(SHORT, offset));
      };
    }
  }

  private IndexedFormat() {}

  static Path tokens(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ".bin");
  }

  static Path index(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ".idx");
  }

  /** For each token in {@code .bin} a byte: 1 if the loss counts it as a target, else 0. */
  static Path mask(Path prefix) {
    return prefix.resolveSibling(prefix.getFileName() + ".mask");
  }
}
