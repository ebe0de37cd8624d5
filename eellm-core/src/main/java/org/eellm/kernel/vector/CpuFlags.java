package org.eellm.kernel.vector;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The processor's maker, and its instructions in the words of the system's kernel, where machine
 * code runs: on Linux on x86-64 and arm64.
 */
public final class CpuFlags {
  private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

  private static final Set<String> MACHINE =
      switch (System.getProperty("os.arch")) {
        case "amd64" -> words("flags");
        case "aarch64" -> isUntriedMac() ? Set.of("asimd", "asimddp") : words("Features");
        default -> Set.of();
      };

  /** Made when they are first asked for. */
  private static final class Masked {
    private static final Set<String> ALL =
        CpuLevel.chosen().mask(MACHINE.stream()).collect(Collectors.toUnmodifiableSet());
  }

  private CpuFlags() {}

  /** All that the machine has, as in {@code avx512_bf16}; none where machine code does not run. */
  static Set<String> ofMachine() {
    return MACHINE;
  }

  /** Those that kernels may use: of the machine's, what the process's {@link CpuLevel} has. */
  public static Set<String> all() {
    return Masked.ALL;
  }

  /** Whether rows are computed by AVX-512: the instructions that all of their code needs. */
  static boolean hasAvx512() {
    return all().containsAll(List.of("avx512f", "avx512dq", "avx512cd"));
  }

  /** Whether Intel made the processor; not where the system does not tell. */
  public static boolean isIntel() {
    return field("vendor_id").filter("GenuineIntel"::equals).isPresent();
  }

  /**
   * Whether this is a Mac of Apple's processors, which all have products of bytes. No machine code
   * has run on one, so it is for those who ask for it.
   */
  private static boolean isUntriedMac() {
    return System.getProperty("os.name").startsWith("Mac")
        && CpuLevel.NEON.text().equals(System.getProperty(CpuLevel.PROPERTY));
  }

  private static Set<String> words(String name) {
    return field(name).map(words -> Set.of(words.split(" +"))).orElse(Set.of());
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
