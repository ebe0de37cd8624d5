package org.eellm.kernel.machine;

/** How many threads the work of the calling thread may use, as libtorch counts them. */
public final class Threads {
  private static final ThreadLocal<Integer> COUNT = ThreadLocal.withInitial(Threads::defaultCount);

  private Threads() {}

  /** The number in {@code OMP_NUM_THREADS}, else one for each core. */
  private static int defaultCount() {
    String configured = System.getenv("OMP_NUM_THREADS");
    return configured != null && configured.matches("[1-9][0-9]{0,3}")
        ? Integer.parseInt(configured)
        : all();
  }

  private static int all() {
    return Runtime.getRuntime().availableProcessors();
  }

  /** The number for the calling thread. */
  public static int count() {
    return COUNT.get();
  }

  /** Sets it for the calling thread; 0 means all cores. */
  public static void set(int threads) {
    COUNT.set(threads == 0 ? all() : threads);
  }
}
