package org.eellm.train;

import java.util.concurrent.CountDownLatch;

/**
 * A copy of weights and optimizer state that is being made. A step's forward and backward passes
 * only read them, so that training waits for the copy no earlier than before its next update.
 */
final class StateCopy {
  private final CountDownLatch made = new CountDownLatch(1);
  private double waited;

  /** Tells that nothing reads the state any more. */
  void complete() {
    made.countDown();
  }

  /** Waits until nothing reads the state any more; on the thread that trains. */
  void await() {
    long start = System.nanoTime();
    try {
      made.await();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new TrainException("interrupted while a checkpoint's copy was made", e);
    }
    waited += (System.nanoTime() - start) / 1e9;
  }

  /** Seconds that training has waited for it. */
  double waited() {
    return waited;
  }
}
