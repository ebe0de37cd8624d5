package org.eellm.kernel.machine;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Set;
import java.util.stream.Stream;

/** The instructions that the processor has, in the kernel's words. */
public final class CpuFlags {
  private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

  private CpuFlags() {}

  /** All flags, as in {@code avx512_bf16}; none where the system does not tell. */
  public static Set<String> all() {
    if (!Files.exists(PROCESSOR)) {
      return Set.of();
    }
    try (Stream<String> lines = Files.lines(PROCESSOR)) {
      return lines
          .filter(line -> line.startsWith("flags"))
          .findFirst()
          .map(line -> Set.of(line.substring(line.indexOf(':') + 1).strip().split(" +")))
          .orElse(Set.of());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
