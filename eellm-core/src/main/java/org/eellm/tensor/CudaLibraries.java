package org.eellm.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.util.List;
import org.bytedeco.pytorch.global.torch;

/**
 * The libraries that libtorch's GPU build takes from the machine: those of CUDA 13 that have no
 * jars of their own. Without them, loading libtorch fails with a message about the first one alone.
 */
public final class CudaLibraries {
  private static final String NATIVES = "/org/bytedeco/pytorch/linux-x86_64-gpu/libtorch_cuda.so";

  private static final List<String> NEEDED =
      List.of(
          "libcublas.so.13",
          "libcublasLt.so.13",
          "libcudnn.so.9",
          "libcusolver.so.12",
          "libcusparse.so.12",
          "libnccl.so.2");

  private CudaLibraries() {}

  /** The libraries that miss here; none in a build for the CPU, which needs none. */
  public static List<String> missing() {
    return torch.class.getResource(NATIVES) == null ? List.of() : missing(NEEDED);
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
   * Refuses to go on without them.
   *
   * @throws TensorException if one misses; the message names all and the remedy
   */
  public static void require() {
    require(missing());
  }

  static void require(List<String> missing) {
    if (!missing.isEmpty()) {
      throw new TensorException(
          "libtorch's GPU build: "
              + String.join(", ", missing)
              + " not found; install CUDA 13, cuDNN 9 and NCCL 2, and put their folders into"
              + " LD_LIBRARY_PATH (docs/gpu.md)");
    }
  }
}
