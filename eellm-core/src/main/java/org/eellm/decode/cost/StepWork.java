package org.eellm.decode.cost;

import org.eellm.decode.engine.KernelRunner;

/**
 * What a step of the full model has to do, however fast that is.
 *
 * @param weightBytes of the layers and the final head
 * @param keyValueBytes that attention reads in all layers
 * @param operations of products with weights
 */
public record StepWork(long weightBytes, long keyValueBytes, long operations) {
  private static final double RATE_SECONDS = 0.01;
  private static final double WARM_UP_SECONDS = 0.1;

  /** What a step of a shape has to do. */
  public static StepWork of(KernelRunner runner, StepShape shape) {
    long weights = runner.trunkBytes() + runner.headBytes(runner.model().allHeads().getLast());
    int layers = runner.model().architecture().model().numLayers();
    long keysAndValues =
        layers
            * switch (shape.owner()) {
              case SEQUENCE -> runner.keyValueBytes(shape.context() + shape.rows());
              case SEQUENCES -> shape.rows() * runner.keyValueBytes(shape.context() + 1);
            };
    return new StepWork(weights, keysAndValues, operations(runner, weights, shape));
  }

  /** Operations of a step's products with so many bytes of weights. */
  public static long operations(KernelRunner runner, long weightBytes, StepShape shape) {
    return Math.round(2 * (weightBytes / runner.bytesPerWeight())) * shape.rows();
  }

  /** What it can be done no faster than, by rates measured now. */
  Bound bound(KernelRunner runner) {
    runner.weightReadRate(WARM_UP_SECONDS);
    runner.productRate(WARM_UP_SECONDS);
    double reading =
        (weightBytes + keyValueBytes) / runner.weightReadRate(RATE_SECONDS).orElseThrow();
    double multiplying = operations / runner.productRate(RATE_SECONDS);
    return Bound.of(reading, multiplying);
  }
}
