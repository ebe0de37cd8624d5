package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;

/** A text on its way through a runner, all heads asked about some of its rows. */
final class RunnerText {
  static final int VOCABULARY = 150;
  private static final int PAGES = 36;

  private final ModelRunner runner;
  private final int[] ids;
  private final int[] pages;
  private int adapter;
  private int done;

  RunnerText(ModelRunner runner, int seed, int length, int... pages) {
    this(runner, new Random(seed).ints(length, 0, VOCABULARY).toArray(), pages);
  }

  RunnerText(ModelRunner runner, int[] ids, int[] pages) {
    this.runner = runner;
    this.ids = ids;
    this.pages = pages;
  }

  /** The same text for an adapter of the model, by its number. */
  RunnerText with(int number) {
    adapter = number;
    return this;
  }

  int[] ids() {
    return ids;
  }

  /** The logits of all heads for the next rows, [heads][rows][vocabulary]. */
  float[][][] next(int count) {
    return next(List.of(this), count).getFirst();
  }

  /** The same of several texts, whose rows pass as one block. */
  static List<float[][][]> next(List<RunnerText> texts, int count) {
    ModelRunner runner = texts.getFirst().runner;
    ForwardBatch rows = new ForwardBatch();
    int[] ids = new int[texts.size() * count];
    int[] asked = IntStream.range(0, ids.length).toArray();
    for (RunnerText text : texts) {
      rows.begin(text.pages, text.adapter);
      for (int i = 0; i < count; i++) {
        ids[rows.rows()] = text.ids[text.done];
        rows.add(runner.allocateSlot(), text.done++);
      }
    }
    runner.embed(rows, ids);
    List<float[][][]> all = new ArrayList<>();
    List<Head> heads = runner.model().allHeads();
    for (int i = 0; i < texts.size(); i++) {
      all.add(new float[heads.size()][count][]);
    }
    int below = 0;
    for (Head head : heads) {
      runner.run(below, head.tap(), rows);
      below = head.tap();
      HeadOutput output = runner.predict(head, rows, asked, asked.length);
      for (int row = 0; row < asked.length; row++) {
        all.get(row / count)[head.index()][row % count] = output.logits(row);
      }
    }
    for (int row = 0; row < rows.rows(); row++) {
      runner.release(rows.slot(row));
    }
    return all;
  }

  /** Our kernels, with room for several texts. */
  static KernelRunner runner(DecodingModel model, int threads) {
    return new KernelRunner(model, Vocabulary.of(VOCABULARY), PAGES, threads);
  }

  /** libtorch's operations, likewise. */
  static TorchRunner torch(Decoder model) {
    return new TorchRunner(model, Vocabulary.of(VOCABULARY), PAGES);
  }

  /** Logits as near as a share of the largest of their row. */
  static void assertClose(float[][][] ours, float[][][] theirs, float share) {
    for (int head = 0; head < ours.length; head++) {
      for (int row = 0; row < ours[head].length; row++) {
        float largest = 0;
        for (float logit : theirs[head][row]) {
          largest = Math.max(largest, Math.abs(logit));
        }
        for (int id = 0; id < VOCABULARY; id++) {
          assertThat(ours[head][row][id])
              .as("head %d, row %d, id %d", head, row, id)
              .isBetween(
                  theirs[head][row][id] - share * largest, theirs[head][row][id] + share * largest);
        }
      }
    }
  }
}
