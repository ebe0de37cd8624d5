package org.eellm.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.ValueLayout;
import java.util.Map;

/**
 * How long GNU OpenMP's threads, on which libtorch's operations run, wait for each other spinning
 * before they sleep. A training step has some 1,570 such waits. By default a thread spins for
 * milliseconds: beside other work it uses up its share of the processors so, and when what it waits
 * for can go on, it cannot.
 */
final class SpinCount {
  static final String VARIABLE = "GOMP_SPINCOUNT";

  /** Some 15 microseconds: an idle machine's waits are shorter, a busy one's far longer. */
  private static final String COUNT = "1000";

  private SpinCount() {}

  /**
   * Sets the count unless the user has chosen. OpenMP reads its variables when it is loaded, from
   * the process's environment, which Java's own methods cannot change.
   */
  static void limit(Map<String, String> environment) {
    if (environment.containsKey(VARIABLE) || environment.containsKey("OMP_WAIT_POLICY")) {
      return;
    }
    Linker linker = Linker.nativeLinker();
    linker
        .defaultLookup()
        .find("setenv") // Windows has none, and no GNU OpenMP.
        .ifPresent(
            function -> {
              try (Arena arena = Arena.ofConfined()) {
                int _ =
                    (int)
                        linker
                            .downcallHandle(
                                function,
                                FunctionDescriptor.of(
                                    ValueLayout.JAVA_INT,
                                    ValueLayout.ADDRESS,
                                    ValueLayout.ADDRESS,
                                    ValueLayout.JAVA_INT))
                            .invokeExact(
                                arena.allocateFrom(VARIABLE), arena.allocateFrom(COUNT), 0);
              } catch (Throwable e) {
                throw new AssertionError(e); // Native code throws nothing.
              }
            });
  }
}
