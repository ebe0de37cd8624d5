package org.eellm.bench;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Predicate;
import java.util.stream.LongStream;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.tensor.Torch;

/**
 * Drives a runner through steps without an engine, and times their parts. It writes to the first
 * pages of the runner, as many as {@link #pages} says.
 *
 * <p>A step asks the final head. Where the model has exits, each is followed by one that asks all
 * of these, so that a head's weights are read as far from the last reading as they are when tokens
 * leave.
 */
final class StepTimer implements AutoCloseable {
  private static final int PROMPT_ROWS = 256;
  private static final long SEED = 1;

  private final ModelRunner runner;
  private final DecodingModel model;
  private final List<Head> heads;
  private final int top; // branches of the trunk
  private final int[][] pages; // by sequence
  private final int[] slots;
  private final int[] ids;
  private final int[] asked;
  private final ForwardBatch block = new ForwardBatch();
  private long last;

  /** Where the time of some steps went, in nanoseconds. */
  private final class Sums {
    long steps;
    long step;
    long layers;
    final long[] heads = new long[StepTimer.this.heads.size()];
    final long[] parts = new long[ForwardProfiler.Part.values().length];

    StepSample sample() {
      List<Double> byPart = new ArrayList<>();
      if (runner.profiler().isPresent()) {
        for (long part : parts) {
          byPart.add(seconds(part));
        }
      }
      int numLayers = model.architecture().model().numLayers();
      return new StepSample(
          seconds(step),
          seconds(layers) / numLayers,
          LongStream.of(heads).mapToObj(this::seconds).toList(),
          byPart);
    }

    private double seconds(long nanos) {
      return nanos / 1e9 / steps;
    }
  }

  /**
   * Fills keys and values of the positions that shapes look back on.
   *
   * @param runner of a whole model
   * @param shapes that are going to be timed
   */
  StepTimer(ModelRunner runner, List<StepShape> shapes) {
    this.runner = runner;
    model = runner.model();
    heads = model.allHeads();
    top = heads.getLast().tap();
    int rows = shapes.stream().mapToInt(StepShape::rows).max().orElseThrow();
    int sequences = sequences(shapes);
    int each = pagesEach(shapes);
    if (sequences * each > runner.pages()) {
      throw new IllegalArgumentException(
          "%d pages are too few for %d sequences of %d".formatted(runner.pages(), sequences, each));
    }
    pages = new int[sequences][each];
    for (int i = 0; i < sequences * each; i++) {
      pages[i / each][i % each] = i;
    }
    int most = Math.max(rows, PROMPT_ROWS);
    slots = new int[most];
    asked = new int[most];
    for (int i = 0; i < most; i++) {
      slots[i] = runner.allocateSlot();
      asked[i] = i;
    }
    ids = new Random(SEED).ints(most, 0, model.architecture().model().vocabSize()).toArray();
    fill(shapes.stream().mapToInt(StepShape::context).max().orElseThrow());
  }

  /** Pages that a runner needs for shapes. */
  static int pages(List<StepShape> shapes) {
    return sequences(shapes) * pagesEach(shapes);
  }

  private static int sequences(List<StepShape> shapes) {
    return shapes.stream()
        .mapToInt(shape -> shape.owner() == StepShape.Owner.SEQUENCES ? shape.rows() : 1)
        .max()
        .orElseThrow();
  }

  private static int pagesEach(List<StepShape> shapes) {
    int positions =
        shapes.stream().mapToInt(shape -> shape.context() + shape.rows()).max().orElseThrow();
    return Math.ceilDiv(positions, ModelRunner.PAGE);
  }

  /** Makes keys and values of a first sequence, and copies them for the others. */
  private void fill(int positions) {
    for (int from = 0; from < positions; from += PROMPT_ROWS) {
      load(new StepShape(Math.min(PROMPT_ROWS, positions - from), StepShape.Owner.SEQUENCE, from));
      askAll(Head::hasAttention, new long[heads.size()]);
    }
    int filled = Math.ceilDiv(positions, ModelRunner.PAGE);
    for (int sequence = 1; sequence < pages.length; sequence++) {
      for (int i = 0; i < filled; i++) {
        runner.copyPage(pages[0][i], pages[sequence][i]);
      }
    }
  }

  private void load(StepShape shape) {
    block.clear();
    switch (shape.owner()) {
      case SEQUENCE -> {
        block.begin(pages[0]);
        for (int row = 0; row < shape.rows(); row++) {
          block.add(slots[row], shape.context() + row);
        }
      }
      case SEQUENCES -> {
        for (int row = 0; row < shape.rows(); row++) {
          block.begin(pages[row]);
          block.add(slots[row], shape.context());
        }
      }
    }
  }

  /**
   * Times steps, one after another.
   *
   * @param seconds for at least so long, and at least one step
   */
  StepSample time(StepShape shape, double seconds) {
    Sums sums = new Sums();
    long start = System.nanoTime();
    do {
      sums.steps++;
      step(shape, sums);
      if (heads.size() > 1) {
        load(shape);
        askAll(Head::isExit, sums.heads);
      }
    } while (System.nanoTime() - start < 1e9 * seconds);
    return sums.sample();
  }

  private void step(StepShape shape, Sums sums) {
    runner.profiler().ifPresent(ForwardProfiler::reset);
    long start = System.nanoTime();
    last = start;
    load(shape);
    runner.embed(block, ids);
    lap(); // the rows' embedding is not the layers'
    runner.run(0, top, block);
    sums.layers += lap();
    runner.predict(heads.getLast(), block, asked, block.rows()).await();
    sums.heads[heads.size() - 1] += lap();
    sums.step += last - start;
    if (runner.profiler().isPresent()) {
      ForwardProfiler profiler = runner.profiler().get();
      for (ForwardProfiler.Part part : ForwardProfiler.Part.values()) {
        sums.parts[part.ordinal()] += profiler.nanos(part);
      }
    }
  }

  /**
   * Takes the block through all layers, and asks some heads on the way.
   *
   * @param nanos what they took is added to, by head
   */
  private void askAll(Predicate<Head> wanted, long[] nanos) {
    runner.embed(block, ids);
    int below = 0;
    for (Head head : heads) {
      if (head.tap() > below) {
        runner.run(below, head.tap(), block);
        below = head.tap();
      }
      if (wanted.test(head)) {
        lap();
        runner.predict(head, block, asked, block.rows()).await();
        nanos[head.index()] += lap();
      }
    }
  }

  /** Nanoseconds since the last call. */
  private long lap() {
    if (model instanceof Decoder decoder) {
      Torch.synchronize(decoder.device());
    }
    long before = last;
    last = System.nanoTime();
    return last - before;
  }

  /** Gives back its slots of hidden states. */
  @Override
  public void close() {
    for (int slot : slots) {
      runner.release(slot);
    }
  }
}
