package org.eellm.cli.bench;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.kernel.machine.CpuCache;
import org.eellm.kernel.machine.MachineMemory;

/**
 * The machine that a benchmark ran on.
 *
 * @param processor its model, as the system names it
 * @param cores processors that this process may use
 * @param cacheBytes of the last cache
 * @param memoryBytes that this process may use
 * @param os the system's name and version
 * @param java of the JDK
 */
record BenchMachine(
    String processor, int cores, long cacheBytes, long memoryBytes, String os, String java) {
  private static final Path PROCESSORS = Path.of("/proc/cpuinfo");

  static BenchMachine here() {
    return new BenchMachine(
        modelName().orElse(System.getProperty("os.arch")),
        Runtime.getRuntime().availableProcessors(),
        CpuCache.bytes(),
        MachineMemory.bytes(),
        System.getProperty("os.name") + " " + System.getProperty("os.version"),
        Runtime.version().toString());
  }

  private static Optional<String> modelName() {
    if (!Files.exists(PROCESSORS)) {
      return Optional.empty();
    }
    try (Stream<String> lines = Files.lines(PROCESSORS)) {
      return lines
          .filter(line -> line.startsWith("model name"))
          .map(line -> line.substring(line.indexOf(':') + 1).strip())
          .findFirst();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
