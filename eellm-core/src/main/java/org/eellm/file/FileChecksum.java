package org.eellm.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.HexFormat;
import java.util.zip.CRC32C;

/**
 * A file's length and checksum: CRC-32C finds every error of up to 32 bits in a row, and lets one
 * in 2^32 others pass. It is no defence against someone who means to deceive.
 *
 * @param crc as text, eight hexadecimal digits
 */
public record FileChecksum(long bytes, String crc) {
  private static final int BUFFER_BYTES = 1 << 20;
  private static final int POLYNOMIAL = 0x82F63B78; // Castagnoli's, the lowest power first

  /** The checksum of so many bytes that {@code crc} has seen. */
  public static FileChecksum of(long bytes, CRC32C crc) {
    return new FileChecksum(bytes, HexFormat.of().toHexDigits((int) crc.getValue()));
  }

  /** Reads a file from front to back. */
  public static FileChecksum of(Path file) throws IOException {
    return of(file, 0, Long.MAX_VALUE);
  }

  /** Reads a file's bytes from one on: so many, or as many as there are. */
  public static FileChecksum of(Path file, long from, long most) throws IOException {
    CRC32C crc = new CRC32C();
    ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
    long bytes = 0;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      channel.position(from);
      while (bytes < most
          && channel.read(buffer.clear().limit((int) Math.min(BUFFER_BYTES, most - bytes))) >= 0) {
        bytes += buffer.position();
        crc.update(buffer.flip());
      }
    }
    return of(bytes, crc);
  }

  /** The checksum of these bytes and those of another behind them. */
  public FileChecksum followedBy(FileChecksum next) {
    int shifted = multiply(power(next.bytes), Integer.parseUnsignedInt(crc, 16));
    int both = shifted ^ Integer.parseUnsignedInt(next.crc, 16);
    return new FileChecksum(bytes + next.bytes, HexFormat.of().toHexDigits(both));
  }

  /** The remainder of {@code x^(8 bytes)} by CRC-32C's polynomial; the highest bit is that of 1. */
  private static int power(long bytes) {
    int power = 1 << 31;
    int square = 1 << 31 - Byte.SIZE;
    for (long left = bytes; left > 0; left >>= 1) {
      power = (left & 1) == 0 ? power : multiply(power, square);
      square = multiply(square, square);
    }
    return power;
  }

  /** The product of two remainders. */
  private static int multiply(int first, int second) {
    int product = 0;
    int shifted = second;
    for (int bit = 1 << 31; bit != 0; bit >>>= 1) {
      product ^= (first & bit) == 0 ? 0 : shifted;
      shifted = shifted >>> 1 ^ ((shifted & 1) == 0 ? 0 : POLYNOMIAL);
    }
    return product;
  }
}
