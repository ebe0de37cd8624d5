package org.eellm.kernel.machine;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.List;
import org.eellm.kernel.vector.Lanes;

/**
 * {@link RowCode} in executable memory. What each function gives is what the Vector API's kernel of
 * the same name gives, to the bit.
 */
public final class RowFunctions {
  private static final int LANES = 16;

  private static final Linker LINKER = Linker.nativeLinker();
  private static final Linker.Option SHORT = Linker.Option.critical(false);
  private static final Linker.Option WITH_ARRAYS = Linker.Option.critical(true);

  private static final List<byte[]> CODES =
      List.of(
          RowCode.sumOfSquares(),
          RowCode.weighted(),
          RowCode.addition(),
          RowCode.rotation(),
          RowCode.rounding(),
          RowCode.roundingToHalf(0),
          RowCode.roundingToHalf(1),
          RowCode.spreading(),
          RowCode.swiGlu(),
          RowCode.largest(),
          RowCode.place(),
          RowCode.sumOfExponentials());
  private static final MemorySegment[] FUNCTIONS = load();

  // Constants, so that calls are compiled into their callers.
  private static final MethodHandle SUM_OF_SQUARES =
      handle(0, FunctionDescriptor.of(JAVA_FLOAT, JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle WEIGHTED =
      handle(
          1,
          FunctionDescriptor.ofVoid(JAVA_LONG, ADDRESS, JAVA_LONG, ADDRESS, JAVA_FLOAT),
          WITH_ARRAYS);
  private static final MethodHandle ADD =
      handle(2, FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle ROTATE =
      handle(
          3,
          FunctionDescriptor.ofVoid(
              ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS, ADDRESS, JAVA_LONG),
          WITH_ARRAYS);
  private static final MethodHandle ROUND =
      handle(4, FunctionDescriptor.ofVoid(ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG), WITH_ARRAYS);
  private static final MethodHandle ROUND_TO_FIRST_HALF =
      handle(5, FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle ROUND_TO_SECOND_HALF =
      handle(6, FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle SPREAD =
      handle(7, FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle SWI_GLU =
      handle(8, FunctionDescriptor.ofVoid(JAVA_LONG, JAVA_LONG, JAVA_LONG, ADDRESS), WITH_ARRAYS);
  private static final MethodHandle LARGEST =
      handle(9, FunctionDescriptor.of(JAVA_FLOAT, JAVA_LONG, JAVA_LONG), SHORT);
  private static final MethodHandle PLACE =
      handle(10, FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_FLOAT), SHORT);
  private static final MethodHandle SUM_OF_EXPONENTIALS =
      handle(
          11,
          FunctionDescriptor.of(JAVA_FLOAT, JAVA_LONG, JAVA_LONG, JAVA_FLOAT, JAVA_FLOAT),
          SHORT);

  private RowFunctions() {}

  private static MemorySegment[] load() {
    return Lanes.WIDTH == LANES && ExecutableMemory.has("avx512f") && ExecutableMemory.has("bmi2")
        ? ExecutableMemory.store(CODES).orElse(new MemorySegment[0])
        : new MemorySegment[0];
  }

  private static MethodHandle handle(
      int function, FunctionDescriptor descriptor, Linker.Option option) {
    return work()
        ? LINKER.downcallHandle(FUNCTIONS[function], descriptor, option)
        : LINKER.downcallHandle(descriptor, option);
  }

  /** Whether the processor takes the code, and the system gives memory for it. */
  public static boolean work() {
    return FUNCTIONS.length > 0;
  }

  private static RuntimeException failure(Throwable e) {
    return switch (e) {
      case RuntimeException unchecked -> unchecked;
      case Error error -> throw error;
      default -> throw new LinkageError("a kernel in machine code", e);
    };
  }

  /**
   * The sum of squares of float32 numbers.
   *
   * @param count a multiple of 16
   */
  public static float sumOfSquares(long x, int count) {
    long fours = count / (4 * LANES);
    try {
      return (float) SUM_OF_SQUARES.invokeExact(x, fours, count / LANES - 4 * fours);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** {@code x factor weight}. */
  public static void weighted(long x, float[] weight, float factor, float[] out) {
    try {
      WEIGHTED.invokeExact(
          x,
          MemorySegment.ofArray(weight),
          (long) weight.length,
          MemorySegment.ofArray(out),
          factor);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** Adds float32 numbers to others. */
  public static void add(long x, long to, int count) {
    try {
      ADD.invokeExact(x, to, (long) count);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** Turns pairs (a, b) of numbers: to (a cos - b sin, b cos + a sin). */
  public static void rotate(
      float[] x, int first, int second, float[] cosines, float[] sines, int from, int count) {
    try {
      ROTATE.invokeExact(
          MemorySegment.ofArray(x),
          4L * first,
          (long) count,
          4L * second,
          MemorySegment.ofArray(cosines),
          MemorySegment.ofArray(sines),
          4L * from);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** Stores numbers of an array as bfloat16. */
  public static void store(float[] x, int from, int count, long to) {
    try {
      ROUND.invokeExact(MemorySegment.ofArray(x), 4L * from, (long) count, to);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** Stores numbers as bfloat16, each in one half of 32 bits. */
  public static void storeHalves(long x, int count, int which, long to) {
    try {
      if (which == 0) {
        ROUND_TO_FIRST_HALF.invokeExact(x, to, (long) count);
      } else {
        ROUND_TO_SECOND_HALF.invokeExact(x, to, (long) count);
      }
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** Writes each 32 bits into one lane of a vector of their own. */
  public static void spread(long x, int count, int lane, long to) {
    try {
      SPREAD.invokeExact(x, 1L << lane, (long) count, to);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /** {@code silu(gate) up}, as many as {@code out} has. */
  public static void swiGlu(long gate, long up, float[] out) {
    try {
      SWI_GLU.invokeExact(gate, up, (long) out.length, MemorySegment.ofArray(out));
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /**
   * The largest; NaN if there is one.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float max(long x, int count) {
    try {
      return (float) LARGEST.invokeExact(x, (long) (count / LANES));
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /**
   * The first place of a value, or -1.
   *
   * @param count a multiple of 16, and not 0
   */
  public static int place(float value, long x, int count) {
    try {
      return (int) (long) PLACE.invokeExact(x, (long) (count / LANES), value);
    } catch (Throwable e) {
      throw failure(e);
    }
  }

  /**
   * The sum of {@code exp((x - max) factor)}.
   *
   * @param count a multiple of 16, and not 0
   */
  public static float sumOfExponentials(long x, int count, float max, float factor) {
    try {
      return (float) SUM_OF_EXPONENTIALS.invokeExact(x, (long) (count / LANES), max, factor);
    } catch (Throwable e) {
      throw failure(e);
    }
  }
}
