package org.eellm.train.optimizer;

import org.eellm.config.TrainConfig;

/**
 * The number of sequences in a step under batch ramp-up, as pure functions: which samples a step
 * sees follows from its number alone, so a resumed run needs no counter.
 *
 * <p>The size starts at {@code start} and grows by {@code increment} every {@code samples /
 * ((global - start) / increment)} samples; from {@code samples} on it is the global batch size.
 */
public final class BatchSize {
  private BatchSize() {}

  /** The sequences in the step that begins after {@code consumedSamples} samples. */
  public static int at(TrainConfig train, long consumedSamples) {
    TrainConfig.Rampup rampup = train.rampup();
    if (consumedSamples >= rampup.samples()) {
      return train.globalBatchSize();
    }
    return rampup.start() + (int) level(train, consumedSamples) * rampup.increment();
  }

  /**
   * The samples consumed before a step, which is the index of the step's first sample.
   *
   * @param step the step, from 1
   */
  public static long samplesBefore(TrainConfig train, long step) {
    if (step < 1) {
      throw new IllegalArgumentException("step " + step + " is below 1");
    }
    long consumed = 0;
    long stepsLeft = step - 1;
    while (stepsLeft > 0 && consumed < train.rampup().samples()) {
      int size = at(train, consumed);
      long stepsAtThisSize = Math.ceilDiv(levelEnd(train, consumed) - consumed, size);
      long taken = Math.min(stepsLeft, stepsAtThisSize);
      consumed += taken * size;
      stepsLeft -= taken;
    }
    return consumed + stepsLeft * train.globalBatchSize();
  }

  private static long increments(TrainConfig train) {
    return (train.globalBatchSize() - train.rampup().start()) / train.rampup().increment();
  }

  private static long level(TrainConfig train, long consumed) {
    return Math.multiplyExact(consumed, increments(train)) / train.rampup().samples();
  }

  /** The first sample count of the next size. */
  private static long levelEnd(TrainConfig train, long consumed) {
    long increments = increments(train);
    return increments == 0
        ? train.rampup().samples()
        : Math.ceilDiv((level(train, consumed) + 1) * train.rampup().samples(), increments);
  }
}
