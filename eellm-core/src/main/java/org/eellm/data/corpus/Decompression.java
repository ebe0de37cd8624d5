package org.eellm.data.corpus;

import com.github.luben.zstd.ZstdInputStream;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import org.apache.commons.compress.compressors.bzip2.BZip2CompressorInputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.tukaani.xz.XZInputStream;

/** Reads what is in compressed files, whose kind their names tell. */
public final class Decompression {
  private static final int BUFFER_BYTES = 1 << 16;

  private Decompression() {}

  /**
   * The content of a file.
   *
   * @param name ends with {@code .gz}, {@code .bz2}, {@code .xz} or {@code .zst} if the file is
   *     compressed
   * @param bytes of the file, as they are stored
   */
  public static InputStream of(String name, InputStream bytes) throws IOException {
    InputStream buffered = new BufferedInputStream(bytes, BUFFER_BYTES);
    return switch (name.substring(name.lastIndexOf('.') + 1)) {
      // Java's own takes a damaged member for the end.
      case "gz" -> new GzipCompressorInputStream(buffered, true);
      case "bz2" -> new BZip2CompressorInputStream(buffered, true);
      case "xz" -> new XZInputStream(buffered);
      case "zst" -> new ZstdInputStream(buffered);
      default -> buffered;
    };
  }
}
