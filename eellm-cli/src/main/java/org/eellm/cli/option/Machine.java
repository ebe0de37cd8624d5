package org.eellm.cli.option;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.eellm.JvmSetup;
import org.eellm.kernel.machine.MachineMemory;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.NativeLibraries;
import org.eellm.tensor.Torch;

/**
 * A machine as this process sees it.
 *
 * @param os the system's name and version
 * @param architecture of the processor, as Java names it
 * @param cores processors this process may use
 * @param cpuFeatures instruction sets that matter here, as the system names them; empty where it
 *     does not tell
 * @param memoryBytes memory this process may use: the machine's, or its container's limit
 * @param memoryAvailableBytes what is free of the machine's memory, where the system tells
 * @param diskFreeBytes space left in the working folder
 * @param nvidiaDriver whether an NVIDIA driver runs
 * @param unsetMalloc the variables of glibc's allocator that the launcher sets and that are not set
 * @param libtorch what computes with tensors; empty if it is not on the class path, or not for this
 *     platform
 * @param libtorchProblem what keeps it from being loaded, if it is on the class path
 */
public record Machine(
    String os,
    String architecture,
    int cores,
    Set<String> cpuFeatures,
    long memoryBytes,
    OptionalLong memoryAvailableBytes,
    long diskFreeBytes,
    boolean nvidiaDriver,
    List<String> unsetMalloc,
    Optional<Libtorch> libtorch,
    Optional<String> libtorchProblem) {
  private static final List<String> MALLOC =
      List.of("MALLOC_MMAP_MAX_", "GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_ARENA_MAX");
  private static final Set<String> FEATURES =
      Set.of(
          "avx2",
          "avx_vnni",
          "avx512f",
          "avx512_bf16",
          "avx512_vnni",
          "amx_bf16",
          "amx_int8", // x86-64
          "asimd",
          "asimddp",
          "sve",
          "bf16",
          "i8mm"); // arm64
  private static final Pattern FLAGS = Pattern.compile("(?:flags|Features)\\s*:(.*)");
  private static final Pattern AVAILABLE = Pattern.compile("MemAvailable:\\s*(\\d+) kB");

  /**
   * libtorch as this process has it.
   *
   * @param version its own and its binding's
   * @param blas the library of float32 matrix products, as loaded
   * @param threads CPU threads of its operations
   * @param memoryWatchdog whether JavaCPP limits native memory
   * @param cudaDevices GPUs that it can use
   * @param cpu measured rates of the CPU
   * @param cuda measured rates of the first GPU
   */
  public record Libtorch(
      String version,
      String blas,
      int threads,
      boolean memoryWatchdog,
      int cudaDevices,
      DeviceThroughput.Measured cpu,
      Optional<DeviceThroughput.Measured> cuda) {
    private static Optional<Libtorch> find(double seconds) {
      if (!JvmSetup.hasLibtorch()) {
        return Optional.empty();
      }
      int cudaDevices = Torch.cudaDevices();
      return Optional.of(
          new Libtorch(
              Torch.version(),
              Torch.blas(),
              Torch.threads(),
              Torch.memoryWatchdogIsOn(),
              cudaDevices,
              DeviceThroughput.ofCpu(seconds),
              cudaDevices > 0 ? Optional.of(DeviceThroughput.ofCuda(seconds)) : Optional.empty()));
    }
  }

  /**
   * Looks at this machine and measures it.
   *
   * @param seconds how long to measure each rate
   */
  public static Machine inspect(double seconds) throws IOException {
    OperatingSystemMXBean system = system();
    Optional<Libtorch> libtorch = Optional.empty();
    Optional<String> problem = Optional.empty();
    try {
      libtorch = Libtorch.find(seconds);
    } catch (UnsatisfiedLinkError e) { // the class is there, but not its natives
      problem =
          Optional.of(
              "on the class path, but not for %s: training and GPUs do not work here; add the"
                      .formatted(NativeLibraries.platform())
                  + " platform's natives, as docs/operate.md says");
    }
    return new Machine(
        system.getName() + " " + system.getVersion(),
        system.getArch(),
        system.getAvailableProcessors(),
        readCpuFeatures(),
        MachineMemory.bytes(),
        readMemoryAvailable(),
        // Not by its file store, which a changed root has none of.
        Path.of("").toAbsolutePath().toFile().getUsableSpace(),
        Files.exists(Path.of("/proc/driver/nvidia/version")),
        MALLOC.stream().filter(name -> System.getenv(name) == null).toList(),
        libtorch,
        problem);
  }

  private static OperatingSystemMXBean system() {
    return (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
  }

  public boolean isLinux() {
    return os.startsWith("Linux");
  }

  public boolean isX86() {
    return architecture.equals("amd64") || architecture.equals("x86_64");
  }

  private static Set<String> readCpuFeatures() throws IOException {
    Set<String> features = new TreeSet<>();
    for (String line : linesOf(Path.of("/proc/cpuinfo"))) {
      Matcher flags = FLAGS.matcher(line);
      if (flags.matches()) {
        Stream.of(flags.group(1).split(" ")).filter(FEATURES::contains).forEach(features::add);
      }
    }
    return features;
  }

  private static OptionalLong readMemoryAvailable() throws IOException {
    return linesOf(Path.of("/proc/meminfo")).stream()
        .map(AVAILABLE::matcher)
        .filter(Matcher::matches)
        .mapToLong(line -> Long.parseLong(line.group(1)) * 1024)
        .findFirst();
  }

  private static List<String> linesOf(Path file) throws IOException {
    return Files.exists(file) ? Files.readAllLines(file) : List.of();
  }
}
