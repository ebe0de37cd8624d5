package org.eellm.cost;

import org.eellm.config.DataType;

/**
 * A device's work, and from it how long it takes: the times of the kinds of work add up.
 *
 * @param products floating-point operations of matrix products
 * @param attention those of attention's own products
 * @param streamed bytes that elementwise operations and products read and write
 * @param operations how many operations are started
 * @param exchange seconds that tensor-parallel ranks take to exchange what they need for it
 */
record OperationCost(
    double products, double attention, double streamed, double operations, double exchange) {
  static final OperationCost NONE = new OperationCost(0, 0, 0, 0, 0);

  OperationCost plus(OperationCost other) {
    return new OperationCost(
        products + other.products,
        attention + other.attention,
        streamed + other.streamed,
        operations + other.operations,
        exchange + other.exchange);
  }

  OperationCost times(double count) {
    return new OperationCost(
        count * products,
        count * attention,
        count * streamed,
        count * operations,
        count * exchange);
  }

  double seconds(Hardware hardware, DataType type) {
    Hardware.MatrixRates rates = hardware.rates(type);
    return products / (rates.product() * 1e12)
        + attention / (rates.attention() * 1e12)
        + streamed / (hardware.streamGbPerSecond() * 1e9)
        + operations * hardware.operationMicroseconds() / 1e6
        + exchange;
  }
}
