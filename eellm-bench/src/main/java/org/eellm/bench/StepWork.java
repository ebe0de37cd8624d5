package org.eellm.bench;

import org.eellm.decode.engine.cpu.KernelRunner;

/**
 * What a step of the full model has to do, however fast that is.
 *
 * @param weightBytes of the layers and the final head
 * @param keyValueBytes that attention reads in all layers
 */
record StepWork(long weightBytes, long keyValueBytes) {
  /** What a step of a shape has to do. */
  static StepWork of(KernelRunner runner, StepShape shape) {
    long weights = runner.trunkBytes() + runner.headBytes(runner.model().allHeads().getLast());
    int layers = runner.model().architecture().model().numLayers();
    long keysAndValues =
        layers
            * switch (shape.owner()) {
              case SEQUENCE -> runner.keyValueBytes(shape.context() + shape.rows());
              case SEQUENCES -> shape.rows() * runner.keyValueBytes(shape.context() + 1);
            };
    return new StepWork(weights, keysAndValues);
  }

  /** Operations of a step's products with so many bytes of weights. */
  static long operations(KernelRunner runner, long weightBytes, StepShape shape) {
    return Math.round(2 * (weightBytes / runner.bytesPerWeight())) * shape.rows();
  }
}
