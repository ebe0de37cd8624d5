package org.eellm.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.Head;

/**
 * Drives a runner through steps of the full model without an engine, and times them. It writes to
 * the first pages of the runner, as many as {@link #pages} says.
 */
final class StepTimer implements AutoCloseable {
  private static final int PROMPT_ROWS = 256;
  private static final double WARM_UP_SECONDS = 0.2;
  private static final long SEED = 1;

  private final KernelRunner runner;
  private final Head finalHead;
  private final int[] pages;
  private final int[] slots;
  private final int[] ids;
  private final int[] asked;
  private final ForwardBatch block = new ForwardBatch();

  /**
   * A step's consecutive rows of one sequence, as drafts and what waits are.
   *
   * @param context positions before the first row
   */
  record Shape(int rows, int context) {}

  /**
   * Fills keys and values of the positions that shapes look back on, and warms up.
   *
   * @param runner of a whole model
   * @param shapes that are going to be timed
   */
  StepTimer(KernelRunner runner, List<Shape> shapes) {
    this.runner = runner;
    finalHead = runner.model().allHeads().getLast();
    pages = IntStream.range(0, pages(shapes)).toArray();
    int rows = shapes.stream().mapToInt(Shape::rows).max().orElseThrow();
    int most = Math.max(rows, PROMPT_ROWS);
    slots = IntStream.range(0, most).map(_ -> runner.allocateSlot()).toArray();
    asked = IntStream.range(0, most).toArray();
    int vocabSize = runner.model().architecture().model().vocabSize();
    ids = new Random(SEED).ints(most, 0, vocabSize).toArray();
    int positions = shapes.stream().mapToInt(Shape::context).max().orElseThrow();
    for (int from = 0; from < positions; from += PROMPT_ROWS) {
      pass(new Shape(Math.min(PROMPT_ROWS, positions - from), from));
    }
    shapes.forEach(shape -> time(shape, WARM_UP_SECONDS));
  }

  /** Pages that a runner needs for shapes. */
  static int pages(List<Shape> shapes) {
    int positions =
        shapes.stream().mapToInt(shape -> shape.context() + shape.rows()).max().orElseThrow();
    return Math.ceilDiv(positions, ModelRunner.PAGE);
  }

  /** Takes a block through all layers. */
  private void pass(Shape shape) {
    block.clear();
    block.begin(pages);
    for (int row = 0; row < shape.rows(); row++) {
      block.add(slots[row], shape.context() + row);
    }
    runner.embed(block, ids);
    runner.run(0, finalHead.tap(), block);
  }

  /**
   * Times steps, one after another.
   *
   * @param seconds for at least so long, and at least one step
   * @return seconds of a step
   */
  double time(Shape shape, double seconds) {
    int steps = 0;
    long start = System.nanoTime();
    double spent;
    do {
      pass(shape);
      runner.predict(finalHead, block, asked, block.rows()).await();
      steps++;
      spent = (System.nanoTime() - start) / 1e9;
    } while (spent < seconds);
    return spent / steps;
  }

  /** Gives back its slots of hidden states. */
  @Override
  public void close() {
    Arrays.stream(slots).forEach(runner::release);
  }
}
