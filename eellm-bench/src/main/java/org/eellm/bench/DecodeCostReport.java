package org.eellm.bench;

import java.util.List;
import org.eellm.bench.StepShape.Owner;
import org.eellm.config.HeadId;

/**
 * What rows cost in a step of the full model, beside the bytes it reads and what it multiplies at
 * the rates measured in the same run: medians of rounds in which all shapes take turns.
 *
 * @param kernel what multiplies
 * @param weightBytes of all packed weights; what several heads share counts once
 * @param withinCache whether these fit the processor's last cache
 * @param readBytesPerSecond the rate at which the same threads read the same weights
 * @param memoryBytesPerSecond the same of memory beyond the caches
 * @param operationsPerSecond products of 64 rows with weights in the nearest caches; a
 *     multiplication and an addition are two operations
 */
public record DecodeCostReport(
    String kernel,
    long weightBytes,
    boolean withinCache,
    double readBytesPerSecond,
    double memoryBytesPerSecond,
    double operationsPerSecond,
    List<Step> steps) {

  /**
   * What something takes.
   *
   * @param microseconds measured
   * @param ratio to the same of one row
   * @param bytes of weights
   * @param operations of products with weights: 2 x weights x rows
   * @param memoryMicroseconds that reading the bytes would take
   * @param arithmeticMicroseconds that the operations would take
   */
  public record Cost(
      double microseconds,
      double ratio,
      long bytes,
      long operations,
      double memoryMicroseconds,
      double arithmeticMicroseconds) {

    /** What it can be no faster than. */
    public Bound bound() {
      return Bound.of(memoryMicroseconds, arithmeticMicroseconds);
    }
  }

  /** What asking a head takes. */
  public record HeadCost(HeadId head, Cost cost) {}

  /**
   * A part of a step.
   *
   * @param share of the step
   */
  public record Part(String name, double microseconds, double share) {}

  /**
   * A step.
   *
   * @param rowsOf whose rows it takes: consecutive ones of one sequence, or one of each of several
   * @param context positions before the first row
   * @param layer one layer, on average over all
   * @param heads each head for all rows, shallowest first
   * @param step embedding, all layers and the final head; bytes include keys and values
   * @param keyValueBytes that a step's attention reads
   * @param bound what the step can be no faster than
   * @param shareOfReadRate bytes of the step's weights a second, as a part of the rate at which
   *     weights are read
   * @param parts of the step: the runner's, and what is outside it; of the round whose share
   *     outside is the middle one
   * @param partsShare the runner's parts together, as a share of the step
   */
  public record Step(
      Owner rowsOf,
      int context,
      int rows,
      Cost layer,
      List<HeadCost> heads,
      Cost step,
      long keyValueBytes,
      Bound bound,
      double shareOfReadRate,
      List<Part> parts,
      double partsShare) {
    public Step {
      heads = List.copyOf(heads);
      parts = List.copyOf(parts);
    }
  }

  public DecodeCostReport {
    steps = List.copyOf(steps);
  }
}
