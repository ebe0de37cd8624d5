package org.eellm.kernel.vector;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** What kernels may use of a processor; each level of x86-64 has what those before it have. */
public enum CpuLevel {
  /** Plain Java, on any processor: what all others are compared with. */
  SCALAR,
  /** Java's Vector API for products, on any processor where Java runs with its module. */
  VECTORS,
  /** Machine code of arm64 for products and attention; the rest is as without it. */
  NEON("asimd"),
  /** Machine code for vectors of 256 bits. */
  AVX2("avx2", "fma", "f16c", "bmi2"),
  /** The same with instructions for products of bytes. */
  AVX_VNNI("avx_vnni"),
  /** Machine code for vectors of 512 bits. */
  AVX512("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"),
  /** The same with tiles, unless {@code eellm.kernel.order} asks for a chain. */
  AMX("amx_tile", "amx_bf16");

  /** The system property that chooses a level; without it the machine's highest is taken. */
  public static final String PROPERTY = "eellm.cpu";

  /** The name's first part of flags that come with a level and are not for those before it. */
  private static final List<String> LATER = List.of("avx_vnni", "avx512", "amx");

  private final Set<String> flags;

  CpuLevel(String... flags) {
    this.flags = Set.of(flags);
  }

  /** Made when it is first asked for. */
  private static final class Choice {
    private static final CpuLevel LEVEL =
        of(System.getProperty(PROPERTY, available().getLast().text())).orElseThrow();
  }

  /** The process's. */
  public static CpuLevel chosen() {
    return Choice.LEVEL;
  }

  /** That of a name, if this machine has it. */
  public static Optional<CpuLevel> of(String name) {
    return available().stream().filter(level -> level.text().equals(name)).findFirst();
  }

  /** Those that this machine has, the plainest first. */
  public static List<CpuLevel> available() {
    return Arrays.stream(values()).filter(level -> level.isIn(CpuFlags.ofMachine())).toList();
  }

  /**
   * Whether a machine has it.
   *
   * @param machine all of its flags; none where machine code does not run
   */
  boolean isIn(Set<String> machine) {
    return switch (this) {
      case SCALAR, VECTORS -> true;
      case NEON, AVX2 -> machine.containsAll(flags);
      case AVX_VNNI, AVX512 -> AVX2.isIn(machine) && machine.containsAll(flags);
      case AMX -> AVX512.isIn(machine) && machine.containsAll(flags);
    };
  }

  public boolean hasMachineCode() {
    return compareTo(NEON) >= 0;
  }

  /** Whether products in Java are by the Vector API. */
  public static boolean hasVectors() {
    return chosen() != SCALAR && NativeNumbers.HAS_VECTORS;
  }

  /** Of a machine's flags those that may be used. */
  Stream<String> mask(Stream<String> machine) {
    List<String> later =
        switch (this) {
          case SCALAR, VECTORS -> List.of(""); // all
          case AVX2 -> LATER;
          case AVX_VNNI -> LATER.subList(1, 3);
          case AVX512 -> LATER.subList(2, 3);
          case NEON, AMX -> List.of();
        };
    return machine.filter(flag -> later.stream().noneMatch(flag::startsWith));
  }

  public String text() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
