package org.eellm.kernel.machine;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.IntFunction;
import java.util.function.Supplier;
import org.eellm.kernel.assembler.CpuFeature;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.vector.CpuFlags;
import org.eellm.kernel.vector.CpuLevel;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.kernel.vector.NativeFunction;

/** Memory of the process that holds functions of {@link MachineCode}. */
public final class ExecutableMemory {
  private static final int READ_EXECUTE = 5;
  private static final int ALIGNMENT = 64;
  private static final int PAGE = 64 << 10; // of any processor

  private ExecutableMemory() {}

  public static Optional<NativeFunction> store(Supplier<MachineCode> function) {
    return store(List.of(function)).map(stored -> stored[0]);
  }

  /** Stores one function for AVX-512 or else for AVX2, by the bits of its vectors. */
  public static Optional<NativeFunction> storeWidest(IntFunction<MachineCode> function) {
    return store(() -> function.apply(512)).or(() -> store(() -> function.apply(256)));
  }

  /**
   * Stores functions for good. Writes none beyond the first that the processor does not take.
   *
   * @return the functions; nothing where machine code may not run, the processor or the system
   *     lacks what one of them needs, or the system gives no executable memory
   */
  public static Optional<NativeFunction[]> store(List<Supplier<MachineCode>> functions) {
    if (!CpuLevel.chosen().hasMachineCode()) {
      return Optional.empty();
    }
    List<byte[]> codes = new ArrayList<>();
    for (Supplier<MachineCode> function : functions) {
      MachineCode code = function.get();
      if (!code.needs().stream().allMatch(ExecutableMemory::has)) {
        return Optional.empty();
      }
      codes.add(code.bytes());
    }
    return protect(codes);
  }

  private static boolean has(CpuFeature feature) {
    return CpuFlags.all().contains(feature.flag())
        && (feature != CpuFeature.AMX_TILE || TilePermission.isGranted());
  }

  private static Optional<NativeFunction[]> protect(List<byte[]> codes) {
    int bytes = codes.stream().mapToInt(code -> aligned(code.length)).sum();
    int room = Math.ceilDiv(bytes, PAGE) * PAGE; // so that it begins with a page, guarded too
    long start = NativeBuffer.allocate(room).address();
    MemorySegment memory = MemorySegment.ofAddress(start).reinterpret(room);
    NativeFunction[] stored = new NativeFunction[codes.size()];
    long offset = 0;
    for (int i = 0; i < stored.length; i++) {
      byte[] code = codes.get(i);
      MemorySegment.copy(code, 0, memory, JAVA_BYTE, offset, code.length);
      stored[i] = new NativeFunction(MemorySegment.ofAddress(start + offset));
      offset += aligned(code.length);
    }
    NativeFunction protect = NativeFunction.ofSystem("mprotect").orElseThrow();
    return (int) protect.call(start, room, READ_EXECUTE, 0) == 0 && isSeen(start, room)
        ? Optional.of(stored)
        : Optional.empty();
  }

  /**
   * Lets processors that fetch instructions see what was written; false if the system lacks the
   * function for it. x86-64's see it anyway. arm64's have a cache for instructions that does not
   * watch memory: Linux clears it when a page becomes executable, and libgcc's function does so by
   * the book.
   *
   * <p>Untried on macOS: memory there is written first and then made executable, which {@code
   * mprotect} grants to what is signed as JDKs are. {@code MAP_JIT} would not do, since a thread
   * that may write such memory may not run any, and the JVM's own code is in it.
   */
  private static boolean isSeen(long start, long bytes) {
    if (!System.getProperty("os.arch").equals("aarch64")) {
      return true;
    }
    Optional<NativeFunction> ofMac = NativeFunction.ofSystem("sys_icache_invalidate");
    if (ofMac.isPresent()) {
      ofMac.get().call(start, bytes, 0, 0);
      return true;
    }
    Optional<NativeFunction> ofLibgcc = ofLibgcc();
    ofLibgcc.ifPresent(clear -> clear.call(start, start + bytes, 0, 0));
    return ofLibgcc.isPresent();
  }

  private static Optional<NativeFunction> ofLibgcc() {
    try {
      return SymbolLookup.libraryLookup("libgcc_s.so.1", Arena.global())
          .find("__clear_cache")
          .map(NativeFunction::new);
    } catch (IllegalArgumentException _) { // there is no such library
      return Optional.empty();
    }
  }

  private static int aligned(int bytes) {
    return Math.ceilDiv(bytes, ALIGNMENT) * ALIGNMENT;
  }
}
