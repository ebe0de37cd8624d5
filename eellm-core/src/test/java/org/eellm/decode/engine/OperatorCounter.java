package org.eellm.decode.engine;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.util.concurrent.atomic.AtomicLong;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.RecordScope;

/**
 * Counts libtorch's operators, on all threads, by the callback that its profilers use ({@code
 * at::RecordFunctionCallback}). Its binding is incomplete, so the object is laid out here: two
 * functions, a share of calls, a flag for each scope, three further flags. On x86-64, a {@code
 * unique_ptr} is returned in memory that the caller gives.
 */
final class OperatorCounter implements AutoCloseable {
  private final Arena arena = Arena.ofShared();
  private final AtomicLong count = new AtomicLong();
  private final long handle;

  OperatorCounter() {
    try {
      MethodHandle start =
          MethodHandles.lookup()
              .bind(this, "start", MethodType.methodType(long.class, long.class, long.class));
      MemorySegment callback = arena.allocate(64);
      callback.set(
          JAVA_LONG,
          0,
          Linker.nativeLinker()
              .upcallStub(start, FunctionDescriptor.of(JAVA_LONG, JAVA_LONG, JAVA_LONG), arena)
              .address());
      callback.set(JAVA_DOUBLE, 16, 1);
      for (int scope = 0; scope < RecordScope.NUM_SCOPES.value; scope++) {
        callback.set(JAVA_BYTE, 24 + scope, (byte) 1);
      }
      handle = torch.addGlobalCallback(new Address(callback.address()));
    } catch (ReflectiveOperationException e) {
      throw new LinkageError("a callback", e);
    }
  }

  private static final class Address extends Pointer {
    Address(long address) {
      this.address = address;
    }
  }

  /** Called as an operator starts; returns no context. */
  @SuppressWarnings({"UnusedMethod", "UnusedVariable"})
  private long start(long result, long function) {
    MemorySegment.ofAddress(result).reinterpret(Long.BYTES).set(JAVA_LONG, 0, 0);
    count.incrementAndGet();
    return result;
  }

  /** Operators so far. */
  long count() {
    return count.get();
  }

  @Override
  public void close() {
    torch.removeCallback(handle);
    arena.close();
  }
}
