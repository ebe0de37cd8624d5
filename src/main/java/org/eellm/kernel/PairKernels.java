package org.eellm.kernel;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * {@link PairCode} in executable memory: {@code y = x W^T} of a few rows with bfloat16 weights,
 * sums in float32, one call for many blocks of outputs. Weights come at the memory's rate, and as
 * long as they do, further rows are free. A row's result is that of {@link ProductKernel}'s other
 * ways, to the bit.
 */
final class PairKernels {
  /** Most rows of a call. */
  static final int MOST_ROWS = PairCode.MOST_ROWS;

  private static final FunctionDescriptor FUNCTION =
      FunctionDescriptor.ofVoid(
          JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

  private static final int READ_EXECUTE = 5;
  private static final int ALIGNMENT = 64;

  /** The functions; constants, so that calls are compiled into their callers. */
  private static final Optional<List<MethodHandle>> FUNCTIONS = load();

  private static final MethodHandle ONE = function(1);
  private static final MethodHandle TWO = function(2);
  private static final MethodHandle THREE = function(3);
  private static final MethodHandle FOUR = function(4);
  private static final MethodHandle FIVE = function(5);
  private static final MethodHandle SIX = function(6);

  private PairKernels() {}

  /** What a first try found; later ones find the same. */
  private static final class Tried {
    private static final boolean RESULT =
        IntStream.rangeClosed(1, MOST_ROWS)
            .allMatch(
                rows ->
                    new ProductKernel(WeightFormat.BFLOAT16, Optional.empty(), true, 0)
                        .equalsVectors(rows));
  }

  /**
   * Whether they can be used: on Linux, where the processor knows the instruction, and small
   * products come out right.
   */
  static boolean work() {
    return FUNCTIONS.isPresent() && Tried.RESULT;
  }

  private static MethodHandle function(int rows) {
    return FUNCTIONS
        .map(functions -> functions.get(rows - 1))
        .orElseGet(() -> MethodHandles.empty(FUNCTION.toMethodType())); // never called
  }

  /** Absent as well where the system gives no executable memory. */
  private static Optional<List<MethodHandle>> load() {
    if (!System.getProperty("os.name").equals("Linux")
        || !System.getProperty("os.arch").equals("amd64")
        || !ProcessorFlags.all().contains("avx512_bf16")) {
      return Optional.empty();
    }
    List<byte[]> codes = IntStream.rangeClosed(1, MOST_ROWS).mapToObj(PairCode::of).toList();
    int room = codes.stream().mapToInt(code -> aligned(code.length)).sum();
    Linker linker = Linker.nativeLinker();
    SymbolLookup system = linker.defaultLookup();
    MethodHandle protect =
        linker.downcallHandle(
            system.findOrThrow("mprotect"),
            FunctionDescriptor.of(JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT));
    try {
      long start = NativeBuffer.allocate(room).address(); // for good
      MemorySegment memory = MemorySegment.ofAddress(start).reinterpret(room);
      long[] offsets = new long[codes.size()];
      long offset = 0;
      for (int i = 0; i < offsets.length; i++) {
        offsets[i] = offset;
        byte[] code = codes.get(i);
        MemorySegment.copy(code, 0, memory, JAVA_BYTE, offset, code.length);
        offset += aligned(code.length);
      }
      if ((int) protect.invokeExact(start, (long) room, READ_EXECUTE) != 0) {
        return Optional.empty();
      }
      return Optional.of(
          IntStream.range(0, offsets.length)
              .mapToObj(
                  i ->
                      linker.downcallHandle(
                          MemorySegment.ofAddress(start + offsets[i]),
                          FUNCTION,
                          Linker.Option.critical(false)))
              .toList());
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("mprotect", e);
    }
  }

  private static int aligned(int bytes) {
    return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
  }

  /**
   * Writes some blocks of outputs of some rows.
   *
   * @param rows from 1 to {@link #MOST_ROWS}
   * @param w address of the first block: bfloat16, [blocks, steps, 64, 2]
   * @param x address of the first row: bfloat16, [rows, 2 steps]
   * @param y address of the first row's first output, float32
   */
  static void multiply(
      int rows, long w, long blocks, long x, long xRowBytes, long y, long yRowBytes, long steps) {
    try {
      switch (rows) {
        case 1 -> ONE.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        case 2 -> TWO.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        case 3 -> THREE.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        case 4 -> FOUR.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        case 5 -> FIVE.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        case 6 -> SIX.invokeExact(w, blocks, x, xRowBytes, y, yRowBytes, steps);
        default -> throw new IllegalArgumentException(rows + " rows");
      }
    } catch (RuntimeException | Error e) {
      throw e;
    } catch (Throwable e) {
      throw new LinkageError("a product in machine code", e);
    }
  }
}
