package org.eellm.kernel.product;

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
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Stream;
import org.eellm.kernel.machine.CpuFlags;
import org.eellm.kernel.weight.PackedMatrix;
import org.eellm.kernel.weight.WeightFormat;

/**
 * oneDNN's micro-kernels for bfloat16, by way of a plain function that libtorch exports ({@code
 * at::native::cpublas::brgemm}): {@code y = x W^T} with sums in float32. A row's result does not
 * depend on the other rows.
 *
 * <p>The function is internal to libtorch. It is looked up by name, only where the processor has
 * the instructions (an exception in native code would end the process), and used after a small
 * product has come out right.
 */
public final class OneDnnMicroKernels {
  private static final String FUNCTION =
      "_ZN2at6native7cpublas6brgemmEllllllbPKN3c108BFloat16ES5_Pfb";

  /** Flags of processors for which oneDNN has kernels for pairs of bfloat16 numbers. */
  private static final Set<String> INSTRUCTIONS = Set.of("avx512_bf16", "amx_bf16");

  private static final Path LOADED_LIBRARIES = Path.of("/proc/self/maps");

  /** What a first look found; later ones find the same. */
  private static final class ProbeResult {
    private static final Availability RESULT =
        lookup().isPresent()
            ? tried(new OneDnnMicroKernels())
            : new Availability.Absent("this libtorch does not export them");
  }

  private OneDnnMicroKernels() {}

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
    record Present(OneDnnMicroKernels kernels) implements Availability {}

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
    if (INSTRUCTIONS.stream().noneMatch(CpuFlags.all()::contains)) {
      return new Availability.Absent("the processor has no bfloat16 instructions");
    }
    if (library().isEmpty()) {
      return new Availability.Absent("libtorch is not loaded");
    }
    return ProbeResult.RESULT;
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

  /** There are other orders in which a processor may add up. */
  private static Availability tried(OneDnnMicroKernels kernels) {
    return KernelProbe.passes(
            new MatmulKernel(WeightFormat.BFLOAT16, MatmulKernel.Ways.micro(kernels, 0)), 3, 3)
        ? new Availability.Present(kernels)
        : new Availability.Absent("a small product differs");
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
