package org.eellm.file;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.zip.CRC32C;

/**
 * A file's length and checksum: CRC-32C finds every error of up to 32 bits in a row, and lets one
 * in 2^32 others pass. It is no defence against someone who means to deceive.
 *
 * @param crc as text, eight hexadecimal digits
 */
public record FileChecksum(long bytes, String crc) {
  private static final int BUFFER_BYTES = 1 << 20;

  /** The checksum of so many bytes that {@code crc} has seen. */
  public static FileChecksum of(long bytes, CRC32C crc) {
    return new FileChecksum(bytes, "%08x".formatted(crc.getValue()));
  }

  /** Reads a file from front to back. */
  public static FileChecksum of(Path file) throws IOException {
    CRC32C crc = new CRC32C();
    ByteBuffer buffer = ByteBuffer.allocateDirect(BUFFER_BYTES);
    long bytes = 0;
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
      while (channel.read(buffer.clear()) >= 0) {
        bytes += buffer.position();
        crc.update(buffer.flip());
      }
    }
    return of(bytes, crc);
  }
}
