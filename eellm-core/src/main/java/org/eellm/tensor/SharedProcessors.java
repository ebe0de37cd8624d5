package org.eellm.tensor;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.Optional;
import org.eellm.kernel.vector.NativeFunction;

/**
 * Makes libtorch's operations get on beside other programs on the same processors. A training step
 * has some 1,570 barriers, at which GNU OpenMP's threads wait for each other. By default a thread
 * spins for milliseconds there, and uses up its share of the processors so; and when it can go on,
 * it waits for the end of another program's time slice.
 */
final class SharedProcessors {
  static final String SPINS = "GOMP_SPINCOUNT";

  /** Some 15 microseconds: an idle machine's waits are shorter, a busy one's far longer. */
  private static final String COUNT = "1000";

  /** The shortest time slice that Linux gives, in nanoseconds. */
  static final long SLICE = 100_000;

  /** The numbers of Linux's system calls, which not every C library has functions for. */
  private enum SystemCalls {
    AMD64(314, 315),
    AARCH64(274, 275);

    private final int set;
    private final int get;

    SystemCalls(int set, int get) {
      this.set = set;
      this.get = get;
    }

    static Optional<SystemCalls> here() {
      return switch (System.getProperty("os.name") + " " + System.getProperty("os.arch")) {
        case "Linux amd64" -> Optional.of(AMD64);
        case "Linux aarch64" -> Optional.of(AARCH64);
        default -> Optional.empty();
      };
    }
  }

  // Linux's struct sched_attr in its first form: places, in bytes.
  private static final int ATTRIBUTES = 48;
  private static final int POLICY = 4;
  private static final int SLICE_OF_NORMAL = 24; // "runtime"

  private SharedProcessors() {}

  /**
   * Limits how long OpenMP's threads spin, unless the user has chosen. OpenMP reads its variables
   * when it is loaded.
   */
  static void limitSpins(Map<String, String> environment) {
    if (!environment.containsKey("OMP_WAIT_POLICY")) {
      NativeEnvironment.setUnlessSet(SPINS, COUNT);
    }
  }

  /**
   * Asks Linux for short time slices for this thread, and those that it will start: who has short
   * ones comes sooner, and has no more of a processor. Linux below 6.12 takes no notice.
   */
  static void shortenSlices() {
    SystemCalls.here()
        .flatMap(
            calls -> NativeFunction.ofSystem("syscall").map(syscall -> new Calls(calls, syscall)))
        .ifPresent(Calls::shortenSlices);
  }

  private record Calls(SystemCalls numbers, NativeFunction syscall) {
    void shortenSlices() {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment attributes = arena.allocate(ATTRIBUTES, Long.BYTES);
        long address = attributes.address();
        boolean known = syscall.call(numbers.get, 0, address, ATTRIBUTES) == 0;
        if (known && attributes.get(JAVA_INT, POLICY) == 0) { // normal, neither batch nor real time
          attributes.set(JAVA_LONG, SLICE_OF_NORMAL, SLICE);
          syscall.call(numbers.set, 0, address, 0);
        }
      }
    }
  }
}
