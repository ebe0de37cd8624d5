package org.eellm.tensor;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.SizeTPair;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.kernel.machine.Threads;

/** Start-up of libtorch, its threads, its devices and its error messages. */
public final class Torch {
  private static final int MAX_MESSAGE = 300;

  /** By type, never freed: making them anew takes longer than making a small tensor. */
  private static final Map<ScalarType, TensorOptions> CPU_OPTIONS = new ConcurrentHashMap<>();

  static {
    CudaLibraries.prepare();
    NativeLibraries.load(torch.class);
  }

  private Torch() {}

  /**
   * Loads libtorch, if nothing has yet. To be called before a binding's class is used where several
   * processes may start at once, since those load it without {@link NativeLibraries}.
   */
  public static void load() {
    // This class's initialization does.
  }

  /** libtorch's version and its binding's, such as {@code 2.10.0-1.5.13}. */
  public static String version() {
    try {
      return Loader.getVersion("org.bytedeco", "pytorch");
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** CPU threads of the calling thread's operations. */
  public static int threads() {
    return torch.get_num_threads();
  }

  /** CPU threads that the machine has work for at most, or this process's share of it. */
  public static int processors() {
    return Threads.all();
  }

  /**
   * Sets the CPU threads of the calling thread's operations, libtorch's and those of kernels; 0
   * means all cores.
   */
  public static void setThreads(int threads) {
    Threads.set(threads);
    torch.set_num_threads(Threads.count());
  }

  /**
   * Whether libtorch refuses operations whose result may differ between runs on the same device,
   * and takes slower ones where there are two.
   */
  public static void setDeterministic(boolean on) {
    if (on) {
      NativeEnvironment.setUnlessSet(
          "CUBLAS_WORKSPACE_CONFIG", ":4096:8"); // or libtorch refuses products
    }
    torch.globalContext().setDeterministicAlgorithms(on, false);
    torch.globalContext().setDeterministicCuDNN(on);
  }

  /** Whether a CUDA device can be used: the cuda build of the natives and a working GPU. */
  public static boolean cudaIsAvailable() {
    return torch.cuda_is_available();
  }

  /** CUDA devices that can be used; 0 in a build for the CPU. */
  public static int cudaDevices() {
    return Math.toIntExact(torch.getNumGPUs());
  }

  /**
   * Whether JavaCPP refuses allocations beyond a limit of its own. It counts memory that is not
   * ours, and fails where there is plenty.
   */
  public static boolean memoryWatchdogIsOn() {
    return Pointer.maxPhysicalBytes() > 0 || Pointer.maxBytes() > 0;
  }

  /** Physical memory this process occupies, in bytes. */
  public static long residentBytes() {
    return Pointer.physicalBytes();
  }

  /** Memory in use, in bytes: this process's on the CPU, and all of a GPU's. */
  public static long usedBytes(Device device) {
    if (device.is_cpu()) {
      return residentBytes();
    }
    SizeTPair freeAndTotal = torch.getMemoryInfo(device.index());
    return freeAndTotal.second() - freeAndTotal.first();
  }

  /** A GPU's memory, in bytes. */
  public static long memoryBytes(Device gpu) {
    return torch.getMemoryInfo(gpu.index()).second();
  }

  public static Device cpu() {
    return new Device("cpu");
  }

  /** The first CUDA device; a {@link TensorException} where none can be used. */
  public static Device cuda() {
    if (!cudaIsAvailable()) {
      throw new TensorException(
          CudaLibraries.areNeeded()
              ? "device cuda: the driver shows this process no GPU; look at nvidia-smi and"
                  + " CUDA_VISIBLE_DEVICES, or use the device cpu"
              : "device cuda: is not available; install an NVIDIA driver and build with the profile"
                  + " cuda (EELLM_PROFILE=cuda ./eellm), or use the device cpu");
    }
    return new Device("cuda");
  }

  /** Waits until the device has done all it was asked for. */
  public static void synchronize(Device device) {
    if (device.is_cuda()) {
      torch.cuda_synchronize();
    }
  }

  public static TensorOptions options(ScalarType type, Device device) {
    return device.is_cpu()
        ? CPU_OPTIONS.computeIfAbsent(type.intern(), Torch::cpuOptions)
        : newOptions(type, device);
  }

  private static TensorOptions cpuOptions(ScalarType type) {
    try (Scope _ = Scope.open()) {
      return newOptions(type, cpu()).retainReference();
    }
  }

  private static TensorOptions newOptions(ScalarType type, Device device) {
    return new TensorOptions()
        .dtype(new ScalarTypeOptional(type))
        .device(new DeviceOptional(device));
  }

  /**
   * The library that runs float32 matrix products. Where the system tells which libraries a process
   * has loaded (Linux), this is what it says, not what was asked for.
   */
  public static String blas() {
    torch.mm(torch.zeros(2, 2), torch.zeros(2, 2)).close(); // MKL loads its parts at first use.
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.anyMatch(line -> line.contains("libmkl_core")) ? "Intel MKL" : "OpenBLAS";
    } catch (IOException e) {
      return "OpenBLAS"; // Not Linux, where MKL is not used.
    }
  }

  /**
   * The first line of a libtorch message, which may have hundreds with native frames, cut to a
   * readable length.
   */
  public static String firstLine(Throwable failure) {
    String message = failure.getMessage() == null ? failure.toString() : failure.getMessage();
    String line = message.strip().lines().findFirst().orElse(failure.toString());
    return line.length() <= MAX_MESSAGE ? line : line.substring(0, MAX_MESSAGE) + "...";
  }
}
