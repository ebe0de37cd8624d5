package org.eellm.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.eellm.bench.DecodeCostReport.Cost;
import org.eellm.bench.DecodeCostReport.Step;
import org.eellm.cost.Median;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.DecodingModel;

/** Rounds in which all shapes of steps take turns, with the read rate of the same moments. */
final class CostRounds implements AutoCloseable {
  private static final double STEP_SECONDS = 0.01; // of a shape in a round, at least
  private static final double RATE_SECONDS = 0.01;
  private static final double WARM_UP = 10; // times longer than a round

  private final KernelRunner runner;
  private final List<StepShape> shapes;
  private final StepTimer timer;
  private final Map<StepShape, List<Double>> seconds = new LinkedHashMap<>();
  private final List<Double> reads = new ArrayList<>();

  /**
   * Fills keys and values.
   *
   * @param shapes with those of one row first
   */
  CostRounds(KernelRunner runner, List<StepShape> shapes) {
    this.runner = runner;
    this.shapes = List.copyOf(shapes);
    timer = new StepTimer(runner, shapes);
    shapes.forEach(shape -> seconds.put(shape, new ArrayList<>()));
  }

  /**
   * A round.
   *
   * @param counts or else it warms up, and takes longer
   * @return the rate at which weights are read, in bytes a second
   */
  double round(boolean counts) {
    double times = counts ? 1 : WARM_UP;
    double read = runner.weightReadRate(times * RATE_SECONDS).orElseThrow();
    if (counts) {
      reads.add(read);
    }
    for (StepShape shape : shapes) {
      double took = timer.time(shape, times * STEP_SECONDS);
      if (counts) {
        seconds(shape).add(took);
      }
    }
    return read;
  }

  /** What the rounds came to. */
  DecodeCostReport costs() {
    return new DecodeCostReport(
        runner.kernelText(),
        runner.weightBytes(),
        runner.withinCache(),
        Median.of(reads),
        shapes.stream().map(this::step).toList());
  }

  private Step step(StepShape shape) {
    DecodingModel model = runner.model();
    long weights =
        runner.trunkBytes(model.architecture().model().numLayers())
            + runner.headBytes(model.allHeads().getLast());
    List<Double> single = seconds(single(shape));
    List<Double> ratios = new ArrayList<>();
    for (int round = 0; round < single.size(); round++) {
      ratios.add(seconds(shape).get(round) / single.get(round));
    }
    double median = Median.of(seconds(shape));
    return new Step(
        shape.owner(),
        shape.context(),
        shape.rows(),
        new Cost(1e6 * median, Median.of(ratios)),
        weights / median / Median.of(reads));
  }

  private List<Double> seconds(StepShape shape) {
    List<Double> found = seconds.get(shape);
    if (found == null) {
      throw new IllegalArgumentException("not measured: " + shape);
    }
    return found;
  }

  /** The shape that a shape is held against. */
  private StepShape single(StepShape shape) {
    return shapes.stream()
        .filter(other -> other.context() == shape.context())
        .findFirst()
        .orElseThrow();
  }

  @Override
  public void close() {
    timer.close();
  }
}
