package org.eellm.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.bytedeco.pytorch.global.torch;
import org.eellm.kernel.vector.NativeFunction;

/**
 * The libraries that libtorch's GPU build takes from the machine: the driver's, and those of CUDA
 * 13 that have no jars of their own. Without them, loading libtorch fails with a message about the
 * first one alone, or about none.
 */
final class CudaLibraries {
  private static final String NATIVES = "/org/bytedeco/pytorch/linux-x86_64-gpu/libtorch_cuda.so";

  private static final String DRIVER = "libcuda.so.1";

  private static final List<String> NEEDED =
      List.of(
          DRIVER,
          "libcublas.so.13",
          "libcublasLt.so.13",
          "libcudnn.so.9",
          "libcusolver.so.12",
          "libcusolverMg.so.12",
          "libcusparse.so.12",
          "libnccl.so.2");

  /** CUDA 13.0, as the driver counts. */
  private static final int OLDEST = 13_000;

  private CudaLibraries() {}

  /** Whether this is libtorch's GPU build. */
  static boolean areNeeded() {
    return torch.class.getResource(NATIVES) != null;
  }

  /** Those that the system's loader does not find. */
  static List<String> missing(List<String> files) {
    return files.stream().filter(file -> !canBeLoaded(file)).toList();
  }

  private static boolean canBeLoaded(String file) {
    try (Arena arena = Arena.ofConfined()) {
      SymbolLookup.libraryLookup(file, arena);
      return true;
    } catch (IllegalArgumentException _) {
      return false;
    }
  }

  /**
   * The newest CUDA that the driver can do, as {@code 12040} for 12.4; empty if it does not say.
   */
  private static OptionalInt cudaOfDriver() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
      SymbolLookup.libraryLookup(DRIVER, arena)
          .find("cuDriverGetVersion")
          .ifPresent(function -> new NativeFunction(function).call(version.address(), 0, 0, 0));
      int found = version.get(ValueLayout.JAVA_INT, 0);
      return found == 0 ? OptionalInt.empty() : OptionalInt.of(found);
    }
  }

  /**
   * To be called before libtorch is loaded. For its GPU build, sees to it that all is there, and
   * lets its allocator grow what it has, unless the user has chosen: pieces of fixed size that fit
   * no tensor add up to gigabytes.
   *
   * @throws TensorException if a library misses, or the driver is too old; the message names all
   *     and the remedy
   */
  static void prepare() {
    if (areNeeded()) {
      require(missing(NEEDED));
      cudaOfDriver().ifPresent(CudaLibraries::requireDriver);
      letSegmentsGrow(System.getenv());
    }
  }

  static void require(List<String> missing) {
    if (!missing.isEmpty()) {
      throw new TensorException(
          "libtorch's GPU build: "
              + String.join(", ", missing)
              + " not found; install an NVIDIA driver from 580 on, CUDA 13, cuDNN 9 and NCCL 2, and"
              + " put their folders into LD_LIBRARY_PATH (docs/gpu.md)");
    }
  }

  static void requireDriver(int cuda) {
    if (cuda < OLDEST) {
      throw new TensorException(
          "libtorch's GPU build: the NVIDIA driver can do CUDA %d.%d at most; install 580 or newer, which can do CUDA 13"
              .formatted(cuda / 1000, cuda % 1000 / 10));
    }
  }

  static void letSegmentsGrow(Map<String, String> environment) {
    if (!environment.containsKey("PYTORCH_CUDA_ALLOC_CONF")) {
      NativeEnvironment.setUnlessSet("PYTORCH_ALLOC_CONF", "expandable_segments:True");
    }
  }
}
