package org.eellm.bench;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.eellm.bench.DecodeCostReport.Cost;
import org.eellm.bench.DecodeCostReport.HeadCost;
import org.eellm.bench.DecodeCostReport.Part;
import org.eellm.bench.DecodeCostReport.Step;
import org.eellm.cost.Median;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.Head;

/** Rounds in which all shapes of steps take turns, with the rates of the same moments. */
final class CostRounds implements AutoCloseable {
  private static final double STEP_SECONDS = 0.01; // of a shape in a round, at least
  private static final double RATE_SECONDS = 0.01;
  private static final double WARM_UP = 10; // times longer than a round
  private static final double MEMORY_SECONDS = 0.1;

  private final KernelRunner runner;
  private final List<StepShape> shapes;
  private final StepTimer timer;
  private final double memory;
  private final Map<StepShape, List<StepSample>> samples = new LinkedHashMap<>();
  private final List<Double> reads = new ArrayList<>();
  private final List<Double> products = new ArrayList<>();

  /**
   * Fills keys and values.
   *
   * @param shapes with those of one row first
   */
  CostRounds(KernelRunner runner, List<StepShape> shapes) {
    this.runner = runner;
    this.shapes = List.copyOf(shapes);
    timer = new StepTimer(runner, shapes);
    shapes.forEach(shape -> samples.put(shape, new ArrayList<>()));
    runner.memoryReadRate(MEMORY_SECONDS); // until the JVM has compiled it
    memory = runner.memoryReadRate(MEMORY_SECONDS);
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
    double product = runner.productRate(times * RATE_SECONDS);
    if (counts) {
      reads.add(read);
      products.add(product);
    }
    for (StepShape shape : shapes) {
      StepSample sample = timer.time(shape, times * STEP_SECONDS);
      if (counts) {
        samples(shape).add(sample);
      }
    }
    return read;
  }

  /** What the rounds came to. */
  DecodeCostReport costs() {
    double read = Median.of(reads);
    double product = Median.of(products);
    List<Step> steps = shapes.stream().map(shape -> step(shape, read, product)).toList();
    return new DecodeCostReport(
        runner.kernelText(),
        runner.weightBytes(),
        runner.withinCache(),
        read,
        memory,
        product,
        steps);
  }

  private Step step(StepShape shape, double read, double product) {
    int layers = runner.model().architecture().model().numLayers();
    List<Head> heads = runner.model().allHeads();
    List<HeadCost> asked = new ArrayList<>();
    for (Head head : heads) {
      Cost cost =
          cost(shape, at -> at.heads().get(head.index()), runner.headBytes(head), 0, read, product);
      asked.add(new HeadCost(head.id(), cost));
    }
    StepWork work = StepWork.of(runner, shape);
    long weights = work.weightBytes();
    long keys = work.keyValueBytes();
    Cost layer =
        cost(shape, StepSample::layer, runner.trunkBytes() / layers, keys / layers, read, product);
    Cost step = cost(shape, StepSample::step, weights, keys, read, product);
    StepSample middle = StepSample.middle(samples(shape));
    return new Step(
        shape.owner(),
        shape.context(),
        shape.rows(),
        layer,
        asked,
        step,
        keys,
        step.bound(),
        weights / (step.microseconds() / 1e6) / read,
        parts(middle),
        1 - middle.outside() / middle.step());
  }

  private List<StepSample> samples(StepShape shape) {
    List<StepSample> found = samples.get(shape);
    if (found == null) {
      throw new IllegalArgumentException("not measured: " + shape);
    }
    return found;
  }

  private Cost cost(
      StepShape shape,
      ToDoubleFunction<StepSample> figure,
      long weights,
      long keys,
      double read,
      double product) {
    List<StepSample> ours = samples(shape);
    List<StepSample> single = samples(single(shape));
    List<Double> ratios = new ArrayList<>();
    for (int round = 0; round < ours.size(); round++) {
      ratios.add(figure.applyAsDouble(ours.get(round)) / figure.applyAsDouble(single.get(round)));
    }
    long operations = StepWork.operations(runner, weights, shape);
    return new Cost(
        1e6 * StepSample.median(ours, figure),
        Median.of(ratios),
        weights + keys,
        operations,
        1e6 * (weights + keys) / read,
        1e6 * operations / product);
  }

  /** The shape that a shape is held against. */
  private StepShape single(StepShape shape) {
    return shapes.stream()
        .filter(other -> other.context() == shape.context())
        .findFirst()
        .orElseThrow();
  }

  private static List<Part> parts(StepSample sample) {
    List<Part> parts = new ArrayList<>();
    for (ForwardProfiler.Part part : ForwardProfiler.Part.values()) {
      double seconds = sample.parts().get(part.ordinal());
      parts.add(new Part(part.text(), 1e6 * seconds, seconds / sample.step()));
    }
    double outside = sample.outside();
    parts.add(new Part("outside the runner", 1e6 * outside, outside / sample.step()));
    return parts;
  }

  @Override
  public void close() {
    timer.close();
  }
}
