package org.eellm.bench;

import java.util.List;
import java.util.Random;
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
  private static final long SEED = 1;

  private final KernelRunner runner;
  private final Head finalHead;
  private final int[][] pages; // by sequence
  private final int[] slots;
  private final int[] ids;
  private final int[] asked;
  private final ForwardBatch block = new ForwardBatch();

  /**
   * Fills keys and values of the positions that shapes look back on.
   *
   * @param runner of a whole model
   * @param shapes that are going to be timed
   */
  StepTimer(KernelRunner runner, List<StepShape> shapes) {
    this.runner = runner;
    finalHead = runner.model().allHeads().getLast();
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
    int vocabSize = runner.model().architecture().model().vocabSize();
    ids = new Random(SEED).ints(most, 0, vocabSize).toArray();
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
      int rows = Math.min(PROMPT_ROWS, positions - from);
      pass(new StepShape(rows, StepShape.Owner.SEQUENCE, from));
    }
    int filled = Math.ceilDiv(positions, ModelRunner.PAGE);
    for (int sequence = 1; sequence < pages.length; sequence++) {
      for (int i = 0; i < filled; i++) {
        runner.copyPage(pages[0][i], pages[sequence][i]);
      }
    }
  }

  /** Takes a block through all layers. */
  private void pass(StepShape shape) {
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
    runner.embed(block, ids);
    runner.run(0, finalHead.tap(), block);
  }

  /**
   * Times steps, one after another.
   *
   * @param seconds for at least so long, and at least one step
   * @return seconds of a step
   */
  double time(StepShape shape, double seconds) {
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
    for (int slot : slots) {
      runner.release(slot);
    }
  }
}
