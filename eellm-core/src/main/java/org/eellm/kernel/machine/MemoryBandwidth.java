package org.eellm.kernel.machine;

import static org.eellm.kernel.vector.NativeNumbers.MEMORY;

import java.lang.foreign.ValueLayout;
import java.util.Optional;
import org.eellm.kernel.assembler.Assembler;
import org.eellm.kernel.assembler.Gp;
import org.eellm.kernel.assembler.Label;
import org.eellm.kernel.assembler.MachineCode;
import org.eellm.kernel.assembler.Vector;
import org.eellm.kernel.vector.NativeFunction;
import org.eellm.kernel.vector.NativeNumbers;

/**
 * Reads memory on all threads of a team and does nothing with it: the rate that products, which
 * read weights, are held against. Machine code reads from four places at a time, as products of one
 * row do on Intel's processors.
 */
public final class MemoryBandwidth {
  private static final long MOST_CHUNK = 256 << 10;
  private static final long LEAST_CHUNK = 4 << 10;
  private static final long STEP = 8L * NativeNumbers.BYTES;

  /** A region costs some microseconds, so that little memory is read several times in one. */
  private static final long REGION_BYTES = 16 << 20;

  private static final int STREAMS = 4;
  private static final int LINE_BYTES = 64; // parts are whole ones

  /** None where the processor takes no machine code. */
  private static final Optional<NativeFunction> READING =
      ExecutableMemory.storeWidest(vectorBits -> new Code(vectorBits).reading());

  /** Nobody wants to know, but Java's compiler must think so. */
  static volatile int sum;

  private MemoryBandwidth() {}

  /**
   * Reads memory again and again, each thread its own part.
   *
   * @param address a multiple of 64
   * @param bytes a multiple of 64
   * @param seconds how long, at least once
   * @return bytes a second
   */
  public static double bytesPerSecond(ThreadTeam team, long address, long bytes, double seconds) {
    long share = Math.ceilDiv(bytes, 4L * team.size());
    long chunk = Math.ceilDiv(Math.clamp(share, LEAST_CHUNK, MOST_CHUNK), STEP) * STEP;
    int items = Math.toIntExact(Math.ceilDiv(bytes, chunk));
    int times = Math.toIntExact(Math.max(1, REGION_BYTES / bytes));
    ThreadTeam.Program program =
        member -> {
          for (int i = 0; i < times; i++) {
            member.begin(items);
            for (int item = member.next(); item >= 0; item = member.next()) {
              long from = item * chunk;
              sum = read(address + from, Math.min(chunk, bytes - from));
            }
            member.end();
          }
        };
    long read = 0;
    long start = System.nanoTime();
    long now;
    do {
      team.run(program);
      read += times * bytes;
      now = System.nanoTime();
    } while (now - start < seconds * 1e9);
    return read / ((now - start) / 1e9);
  }

  /** Machine code that reads. */
  static final class Code extends Assembler {
    private static final Vector ALL = vector(0);

    Code(int vectorBits) {
      super(vectorBits);
    }

    /** {@code f(a, b, c, d, bytes)}: reads as many bytes, a multiple of 64, from each address. */
    MachineCode reading() {
      vpxord(ALL, ALL, ALL);
      Label start = here();
      for (Gp from : new Gp[] {RDI, RSI, RDX, RCX}) {
        vpord(ALL, ALL, at(from));
        add(from, vectorBytes());
      }
      sub(R8, vectorBytes());
      jne(start);
      vmovd(EAX, ALL.xmm());
      leaveVectors();
      return finish();
    }
  }

  private static int readByJava(long address, long bytes) {
    long all = 0;
    for (long at = 0; at < bytes; at += Long.BYTES) {
      all |= MEMORY.get(ValueLayout.JAVA_LONG, address + at);
    }
    return (int) all;
  }

  private static int read(long address, long bytes) {
    if (READING.isEmpty()) {
      return readByJava(address, bytes);
    }
    long part = Math.ceilDiv(bytes, STREAMS * LINE_BYTES) * LINE_BYTES;
    long last = bytes - part; // parts may have some bytes in common
    return (int)
        READING
            .get()
            .call(
                address,
                address + Math.min(part, last),
                address + Math.min(2 * part, last),
                address + last,
                part,
                0,
                0,
                0);
  }
}
