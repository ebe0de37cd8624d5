package org.eellm.kernel.vector;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Optional;

/**
 * A function outside of Java that takes and returns integers and addresses, which pass in registers
 * of 64 bits: machine code of ours, or one of the system. A call costs nanoseconds. The garbage
 * collector waits for its end: so functions take a millisecond at most.
 *
 * <p>All have one of two forms, whatever they take of it: Java spends 10 ms on the first call of
 * each form.
 */
public record NativeFunction(MemorySegment address) {
  // Constants, so that the JVM compiles what they stand for.
  private static final MethodHandle CALL =
      Linker.nativeLinker()
          .downcallHandle(
              FunctionDescriptor.of(
                  JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                  JAVA_LONG, JAVA_LONG),
              Linker.Option.critical(false));

  /** The other form; made when it is first called. */
  private static final class WithArrays {
    static final MethodHandle CALL =
        Linker.nativeLinker()
            .downcallHandle(
                FunctionDescriptor.of(
                    JAVA_LONG, ADDRESS, ADDRESS, ADDRESS, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                    JAVA_LONG),
                Linker.Option.critical(true));
  }

  public static Optional<NativeFunction> ofSystem(String name) {
    return Linker.nativeLinker().defaultLookup().find(name).map(NativeFunction::new);
  }

  /** Calls the function with addresses and sizes; what it returns, if it returns something. */
  public long call(long a, long b, long c, long d, long e, long f, long g, long h) {
    try {
      return (long) CALL.invokeExact(address, a, b, c, d, e, f, g, h);
    } catch (Throwable failure) {
      throw unchecked(failure);
    }
  }

  public long call(long a, long b, long c, long d) {
    return call(a, b, c, d, 0, 0, 0, 0);
  }

  /** Calls a function of three arrays, whose addresses it gets, and four addresses or sizes. */
  public long callWithArrays(
      FloatArray a, FloatArray b, FloatArray c, long d, long e, long f, long g) {
    return callWithArrays(a.memory(), b.memory(), c.memory(), d, e, f, g);
  }

  /** Calls a function with the memory of three arrays, and four addresses or sizes. */
  public long callWithArrays(
      MemorySegment a, MemorySegment b, MemorySegment c, long d, long e, long f, long g) {
    try {
      return (long) WithArrays.CALL.invokeExact(address, a, b, c, d, e, f, g);
    } catch (Throwable failure) {
      throw unchecked(failure);
    }
  }

  /** Calls a function of an array, whose address it gets as its first three parameters. */
  public long callWithArray(MemorySegment array, long d) {
    return callWithArrays(array, array, array, d, 0, 0, 0);
  }

  private static RuntimeException unchecked(Throwable failure) {
    return switch (failure) {
      case RuntimeException unchecked -> unchecked;
      case Error error -> throw error;
      default -> throw new LinkageError("a function outside of Java", failure);
    };
  }
}
