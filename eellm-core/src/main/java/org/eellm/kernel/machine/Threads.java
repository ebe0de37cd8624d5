package org.eellm.kernel.machine;

import java.nio.file.Path;

/** How many threads the work of the calling thread may use, as libtorch counts them. */
public final class Threads {
  private static final Path ROOT = Path.of("/");
  private static final int ALL =
      Math.min(
          Runtime.getRuntime().availableProcessors(),
          Math.min(new ControlGroups(ROOT).processorLimit(), new ProcessorCores(ROOT).count()));
  private static final ThreadLocal<Integer> COUNT = ThreadLocal.withInitial(Threads::defaultCount);

  private Threads() {}

  /** The number in {@code OMP_NUM_THREADS}, else {@link #all}. */
  private static int defaultCount() {
    String configured = System.getenv("OMP_NUM_THREADS");
    return configured != null && configured.matches("[1-9][0-9]{0,3}")
        ? Integer.parseInt(configured)
        : ALL;
  }

  /**
   * One for each core, for two threads on one take turns with its arithmetic; but no more than a
   * container's share of their time is worth as a whole: threads that work in step wait for the one
   * that has to pause.
   */
  public static int all() {
    return ALL;
  }

  /** The number for the calling thread. */
  public static int count() {
    return COUNT.get();
  }

  /** Sets it for the calling thread; 0 means {@link #all}. */
  public static void set(int threads) {
    COUNT.set(threads == 0 ? ALL : threads);
  }
}
