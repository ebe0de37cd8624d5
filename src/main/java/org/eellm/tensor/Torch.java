package org.eellm.tensor;

import java.util.Locale;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Start-up of libtorch, its threads, its devices and its error messages. */
public final class Torch {
  private static final int MAX_MESSAGE = 300;

  static {
    Loader.load(torch.class);
  }

  private Torch() {}

  /** CPU threads of the calling thread's operations. */
  public static int threads() {
    return torch.get_num_threads();
  }

  /** Sets the CPU threads of the calling thread's operations; 0 means all cores. */
  public static void setThreads(int threads) {
    torch.set_num_threads(threads == 0 ? Runtime.getRuntime().availableProcessors() : threads);
  }

  /** Whether a CUDA device can be used: the cuda build of the natives and a working GPU. */
  public static boolean cudaIsAvailable() {
    return torch.cuda_is_available();
  }

  /** The CPU. */
  public static Device cpu() {
    return new Device("cpu");
  }

  /** The first CUDA device; a {@link TensorException} where none can be used. */
  public static Device cuda() {
    if (!cudaIsAvailable()) {
      throw new TensorException(
          "train.device: cuda is not available; install an NVIDIA driver and build with the profile"
              + " cuda (mvn -Pcuda package), or use cpu");
    }
    return new Device("cuda");
  }

  /** Options for creating tensors of {@code type} on {@code device}. */
  public static TensorOptions options(ScalarType type, Device device) {
    return new TensorOptions()
        .dtype(new org.bytedeco.pytorch.ScalarTypeOptional(type))
        .device(new DeviceOptional(device));
  }

  /** The library that runs float32 matrix products, as loaded. */
  public static String blas() {
    String loaded = System.getProperty("org.bytedeco.openblas.load", "openblas");
    return loaded.toLowerCase(Locale.ROOT).contains("mkl") ? "Intel MKL" : "OpenBLAS";
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
