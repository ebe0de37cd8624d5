package org.eellm.decode.cost;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ForwardProfiler;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.tensor.Torch;

/**
 * Drives a runner through steps without an engine, and times their parts. It writes to the first
 * pages of the runner, as many as {@link #pages} says.
 *
 * <p>A step asks the final head. Where the model has exits, each is followed by one that asks all
 * heads and one that asks all exits for drafts, so that a head's weights are read as far from the
 * last reading as they are when tokens leave.
 */
public final class StepTimer implements AutoCloseable {
  private static final int PROMPT_ROWS = 256;
  private static final int REPETITIONS = 3;
  private static final int RECENT_IDS = 256;
  private static final int DISTINCT_IDS = 32;
  private static final long SEED = 1;

  private final ModelRunner runner;
  private final DecodingModel model;
  private final List<Head> heads;
  private final int top; // branches of the trunk
  private final int[][] pages; // by sequence
  private final int[] slots;
  private final int[] ids;
  private final int[] asked;
  private final int[] recent; // ids of a text's last tokens, most of which come again
  private final ForwardBatch block = new ForwardBatch();
  private long last;

  /** Where the time of some steps went, in nanoseconds. */
  private final class Sums {
    long steps;
    long step;
    long embedding;
    long layers;
    final long[] heads = new long[StepTimer.this.heads.size()];
    final long[] drafts = new long[heads.length - 1]; // by exit
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
          seconds(embedding),
          seconds(layers) / numLayers,
          LongStream.of(heads).mapToObj(this::seconds).toList(),
          LongStream.of(drafts).mapToObj(this::seconds).toList(),
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
  public StepTimer(ModelRunner runner, List<StepShape> shapes) {
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
    recent = IntStream.range(0, RECENT_IDS).map(i -> ids[i % DISTINCT_IDS]).toArray();
    fill(shapes.stream().mapToInt(StepShape::context).max().orElseThrow());
  }

  /** Pages that a runner needs for shapes. */
  public static int pages(List<StepShape> shapes) {
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
      askAll(Head::hasAttention, false, new long[heads.size()]);
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
  public StepSample time(StepShape shape, double seconds) {
    Sums sums = new Sums();
    long start = System.nanoTime();
    do {
      sums.steps++;
      step(shape, sums);
      if (heads.size() > 1) {
        load(shape);
        askAll(Head::isExit, false, sums.heads);
        load(shape);
        askAll(Head::isExit, true, sums.drafts);
      }
    } while (secondsSince(start) < seconds);
    return sums.sample();
  }

  /** Of the slowest of the ranks that share the matrices, which all have to take as many steps. */
  private double secondsSince(long start) {
    double here = (System.nanoTime() - start) / 1e9;
    byte[] mine = ByteBuffer.allocate(Double.BYTES).putDouble(here).array();
    return model.parallel().size() == 1
        ? here
        : model.parallel().group().gatherBytes(mine).stream()
            .mapToDouble(theirs -> ByteBuffer.wrap(theirs).getDouble())
            .max()
            .orElseThrow();
  }

  /**
   * Times the layers below each exit for rows that pass them right after others, as those of drafts
   * do: what caches have kept of these layers need not be read from memory.
   *
   * @param seconds for at least so long, and at least once
   * @return seconds, by exit, shallowest first
   */
  public List<Double> timeRepeated(StepShape shape, double seconds) {
    long[] nanos = new long[heads.size() - 1];
    int times = 0;
    long start = System.nanoTime();
    do {
      for (int exit = 0; exit < nanos.length; exit++) {
        pass(shape, heads.get(exit));
        for (int i = 0; i < REPETITIONS; i++) {
          draft(heads.get(exit));
          nanos[exit] += pass(shape, heads.get(exit));
        }
      }
      times += REPETITIONS;
    } while (secondsSince(start) < seconds);
    double divisor = 1e9 * times;
    return LongStream.of(nanos).mapToObj(sum -> sum / divisor).toList();
  }

  /** Asks an exit for drafts, with a text's own ids beside a short list. */
  private void draft(Head exit) {
    HeadOutput drafts = runner.draft(exit, block, asked, block.rows());
    drafts.await();
    for (int row = 0; row < block.rows() && drafts.ids().length > 0; row++) {
      drafts.with(row, recent);
    }
  }

  /** Nanoseconds that rows take below an exit. */
  private long pass(StepShape shape, Head exit) {
    load(shape);
    runner.embed(block, ids);
    lap();
    pass(0, exit.tap());
    return lap();
  }

  private void step(StepShape shape, Sums sums) {
    runner.profiler().ifPresent(ForwardProfiler::reset);
    long start = System.nanoTime();
    last = start;
    load(shape);
    runner.embed(block, ids);
    sums.embedding += lap();
    pass(0, top);
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
   * @param drafts whether they are asked for drafts
   * @param nanos what they took is added to, by head
   */
  private void askAll(Predicate<Head> wanted, boolean drafts, long[] nanos) {
    runner.embed(block, ids);
    int below = 0;
    for (Head head : heads) {
      if (head.tap() > below) {
        pass(below, head.tap());
        below = head.tap();
      }
      if (wanted.test(head)) {
        lap();
        if (drafts) {
          draft(head);
        } else {
          runner.predict(head, block, asked, block.rows()).await();
        }
        nanos[head.index()] += lap();
      }
    }
  }

  /** Takes the block through branches; other ranks have done their part when this returns. */
  private void pass(int from, int to) {
    runner.run(from, to, block);
    if (runner.stages() > 1) {
      runner.read(slots[0], new byte[runner.hiddenBytes()], 0);
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
