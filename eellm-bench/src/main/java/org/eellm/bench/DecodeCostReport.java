package org.eellm.bench;

import java.util.List;
import org.eellm.bench.StepShape.Owner;

/**
 * What rows cost in a step of the full model: medians of rounds in which all shapes take turns.
 *
 * @param kernel what multiplies
 * @param weightBytes of all packed weights; what several heads share counts once
 * @param withinCache whether these fit the processor's last cache
 * @param readBytesPerSecond the rate at which the same threads read the same weights
 */
public record DecodeCostReport(
    String kernel,
    long weightBytes,
    boolean withinCache,
    double readBytesPerSecond,
    List<Step> steps) {

  /**
   * What something takes.
   *
   * @param microseconds measured
   * @param ratio to the same of one row
   */
  public record Cost(double microseconds, double ratio) {}

  /**
   * A step.
   *
   * @param rowsOf whose rows it takes: consecutive ones of one sequence, or one of each of several
   * @param context positions before the first row
   * @param step embedding, all layers and the final head
   * @param shareOfReadRate bytes of the step's weights a second, as a part of the rate at which
   *     weights are read
   */
  public record Step(Owner rowsOf, int context, int rows, Cost step, double shareOfReadRate) {}

  public DecodeCostReport {
    steps = List.copyOf(steps);
  }
}
