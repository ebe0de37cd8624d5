package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_BOOLEAN;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * oneDNN's micro-kernels for bfloat16, by way of a plain function that libtorch exports ({@code
 * at::native::cpublas::brgemm}): {@code y = x W^T} with sums in float32. A row's result does not
 * depend on the other rows.
 *
 * <p>The function is internal to libtorch. It is looked up by name, only where the processor has
 * the instructions (an exception in native code would end the process), and used after a small
 * product has come out right.
 */
public final class MicroKernels {
  private static final String FUNCTION =
      "_ZN2at6native7cpublas6brgemmEllllllbPKN3c108BFloat16ES5_Pfb";

  /** Flags of processors for which oneDNN has kernels for pairs of bfloat16 numbers. */
  private static final Set<String> INSTRUCTIONS = Set.of("avx512_bf16", "amx_bf16");

  private static final Path LOADED_LIBRARIES = Path.of("/proc/self/maps");
  private static final Path PROCESSOR = Path.of("/proc/cpuinfo");

  /** What a first look found; later ones find the same. */
  private static final class Tried {
    private static final Availability RESULT =
        lookup().isPresent()
            ? tried(new MicroKernels())
            : new Availability.Absent("this libtorch does not export them");
  }

  private MicroKernels() {}

  /** The function; a constant, so that calls are compiled into their callers. */
  private static final class Function {
    private static final MethodHandle PRODUCT =
        Linker.nativeLinker()
            .downcallHandle(
                lookup().orElseThrow(),
                FunctionDescriptor.ofVoid(
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_BOOLEAN,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_LONG,
                    JAVA_BOOLEAN),
                Linker.Option.critical(false));
  }

  private static Optional<MemorySegment> lookup() {
    return library()
        .flatMap(path -> SymbolLookup.libraryLookup(path, Arena.global()).find(FUNCTION));
  }

  /** What can be had of them here. */
  public sealed interface Availability {
    record Present(MicroKernels kernels) implements Availability {}

    /**
     * They cannot be used.
     *
     * @param reason in a few words
     */
    record Absent(String reason) implements Availability {}
  }

  /** Looks for them in the libraries that this process has loaded, and tries them. */
  public static Availability find() {
    if (!Files.exists(LOADED_LIBRARIES)) {
      return new Availability.Absent("only Linux tells which libraries are loaded");
    }
    if (INSTRUCTIONS.stream().noneMatch(processorFlags()::contains)) {
      return new Availability.Absent("the processor has no bfloat16 instructions");
    }
    if (library().isEmpty()) {
      return new Availability.Absent("libtorch is not loaded");
    }
    return Tried.RESULT;
  }

  private static Set<String> processorFlags() {
    return firstLine(PROCESSOR, line -> line.startsWith("flags"))
        .map(line -> Set.of(line.substring(line.indexOf(':') + 1).strip().split(" +")))
        .orElse(Set.of());
  }

  private static Optional<Path> library() {
    return firstLine(LOADED_LIBRARIES, line -> line.contains("/libtorch_cpu.so"))
        .map(line -> Path.of(line.substring(line.indexOf('/'))));
  }

  private static Optional<String> firstLine(Path file, Predicate<String> wanted) {
    try (Stream<String> lines = Files.lines(file)) {
      return lines.filter(wanted).findFirst();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * Whether a product comes out as the Vector API's kernels have it, to the bit. There are other
   * orders in which a processor may add up.
   */
  private static Availability tried(MicroKernels kernels) {
    int in = 70;
    int rows = 3;
    Random random = new Random(1);
    ProductKernel ours = ProductKernel.vectors(WeightFormat.BFLOAT16);
    ProductKernel theirs = new ProductKernel(WeightFormat.BFLOAT16, Optional.of(kernels), 0);
    long bytes = PackedMatrix.bytes(WeightFormat.BFLOAT16, PackedMatrix.BLOCK, in);
    long rowBytes = 4L * PackedMatrix.BLOCK;
    try (NativeBuffer weights = NativeBuffer.allocate(bytes);
        NativeBuffer a = NativeBuffer.allocate(rowBytes * (rows + ProductKernel.ROWS_BEYOND));
        NativeBuffer b = NativeBuffer.allocate(a.bytes());
        Activations x = ours.allocate(rows, in);
        Activations y = theirs.allocate(rows, in)) {
      for (long i = 0; i < bytes; i += 2) {
        Lanes.put((float) random.nextGaussian(), weights.address() + i);
      }
      x.begin(rows);
      y.begin(rows);
      float[] row = new float[in];
      for (int r = 0; r < rows; r++) {
        for (int i = 0; i < in; i++) {
          row[i] = (float) random.nextGaussian();
        }
        x.put(r, 0, row, 0, in);
        y.put(r, 0, row, 0, in);
      }
      PackedMatrix w =
          new PackedMatrix(
              WeightFormat.BFLOAT16, PackedMatrix.BLOCK, in, weights.address(), Optional.empty());
      ours.multiply(w, 0, 1, x, 0, a.address(), rowBytes);
      theirs.multiply(w, 0, 1, y, 0, b.address(), rowBytes);
      for (long i = 0; i < rows * rowBytes; i += 4) {
        if (Lanes.getFloat(a.address() + i) != Lanes.getFloat(b.address() + i)) {
          return new Availability.Absent("a small product differs");
        }
      }
      return new Availability.Present(kernels);
    }
  }

  /**
   * Writes y = x W^T for a block of outputs.
   *
   * @param in an even number
   * @param x bfloat16, [rows, in]
   * @param w bfloat16, pairs of inputs together, [in / 2, 64, 2]
   * @param y float32, [rows, 64]
   * @param stride of y's rows, in numbers
   */
  static void multiply(long rows, long in, long x, long w, long y, long stride) {
    long out = PackedMatrix.BLOCK;
    try {
      Function.PRODUCT.invokeExact(rows, out, in, in, out, stride, false, x, w, y, true);
    } catch (Throwable e) {
      throw new LinkageError("at::native::cpublas::brgemm", e);
    }
  }
}
