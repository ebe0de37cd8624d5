package org.eellm.kernel.machine;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** The size of the processor's last cache. */
public final class CpuCache {
  private static final Path CACHES = Path.of("/sys/devices/system/cpu/cpu0/cache");
  private static final long UNKNOWN = 8L << 20;
  private static final long BYTES = read();

  private CpuCache() {}

  /** In bytes; 8 MiB where the system does not tell. */
  public static long bytes() {
    return BYTES;
  }

  private static long read() {
    for (int index = 4; index >= 0; index--) {
      Path size = CACHES.resolve("index" + index).resolve("size");
      if (Files.isReadable(size)) {
        try {
          String text = Files.readString(size).strip(); // such as 32768K
          return Long.parseLong(text.substring(0, text.length() - 1)) << 10;
        } catch (IOException | NumberFormatException e) {
          return UNKNOWN;
        }
      }
    }
    return UNKNOWN;
  }
}
