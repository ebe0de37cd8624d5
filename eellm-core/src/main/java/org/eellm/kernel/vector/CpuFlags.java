package org.eellm.kernel.vector;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** The processor's maker, and its instructions in the words of the system's kernel. */
public final class CpuFlags {
  private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

  private static final Set<String> ALL =
      field("flags").map(flags -> Set.of(flags.split(" +"))).orElse(Set.of());

  private CpuFlags() {}

  /** All flags, as in {@code avx512_bf16}; none where the system does not tell. */
  public static Set<String> all() {
    return ALL;
  }

  /** Whether rows are computed by AVX-512: the instructions that all of their code needs. */
  static boolean hasAvx512() {
    return ALL.containsAll(List.of("avx512f", "avx512dq", "avx512cd"));
  }

  /** Whether Intel made the processor; not where the system does not tell. */
  public static boolean isIntel() {
    return field("vendor_id").filter("GenuineIntel"::equals).isPresent();
  }

  private static Optional<String> field(String name) {
    if (!Files.exists(PROCESSOR)) {
      return Optional.empty();
    }
    try (Stream<String> lines = Files.lines(PROCESSOR)) {
      return lines
          .filter(line -> line.startsWith(name))
          .findFirst()
          .map(line -> line.substring(line.indexOf(':') + 1).strip());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
