package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.eellm.decode.SmallModel;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.eellm.train.objective.Microbatch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

final class TorchRunnerTest {
  private static final int PAGES = 8;
  private static final int VOCABULARY = 250; // of the model's ids

  private static byte[] read(ModelRunner runner, int slot) {
    byte[] bytes = new byte[runner.hiddenBytes()];
    runner.read(slot, bytes, 0);
    return bytes;
  }

  private static ForwardBatch block(int[] pages, int first, int... slots) {
    ForwardBatch rows = new ForwardBatch();
    rows.begin(pages);
    for (int i = 0; i < slots.length; i++) {
      rows.add(slots[i], first + i);
    }
    return rows;
  }

  private static int[] take(ModelRunner runner, int count) {
    int[] slots = new int[count];
    for (int i = 0; i < count; i++) {
      slots[i] = runner.allocateSlot();
    }
    return slots;
  }

  @Test
  void slots_manyTaken_keepWhatIsWrittenAndAreTakenAgain() {
    try (Decoder model = SmallModel.plain();
        ModelRunner runner = new TorchRunner(model, Vocabulary.of(VOCABULARY), PAGES)) {
      Random random = new Random(1);
      int[] slots = take(runner, 200);
      byte[][] written = new byte[slots.length][runner.hiddenBytes() + 8];
      for (int i = 0; i < slots.length; i++) {
        for (int at = 0; at < runner.hiddenBytes(); at += Float.BYTES) {
          written[i][8 + at] = (byte) random.nextInt(100); // a small number
        }
        runner.write(slots[i], written[i], 8);
      }
      int[] further = take(runner, 1000);
      for (int i = 0; i < slots.length; i++) {
        assertThat(read(runner, slots[i]))
            .isEqualTo(Arrays.copyOfRange(written[i], 8, written[i].length));
      }
      runner.copy(slots[3], slots[4]);
      assertThat(read(runner, slots[4])).isEqualTo(read(runner, slots[3]));
      for (int slot : further) {
        runner.release(slot);
      }
      assertThat(take(runner, 1000)).containsExactlyInAnyOrder(further);
    }
  }

  @Test
  void predict_rowsInPieces_isThatOfOneBlockAndLeavesTheStream() {
    try (Decoder model = SmallModel.plain();
        ModelRunner runner = new TorchRunner(model, Vocabulary.of(VOCABULARY), PAGES)) {
      int[] ids = new Random(2).ints(40, 0, SmallModel.VOCABULARY).toArray();
      Head last = model.allHeads().getLast();
      int[] whole = take(runner, ids.length);
      ForwardBatch all = block(new int[] {0, 1, 2}, 0, whole);
      runner.embed(all, ids);
      runner.run(0, last.tap(), all);
      byte[] before = read(runner, whole[39]);
      HeadOutput together = runner.predict(last, all, new int[] {5, 39}, 2);
      float[] expected = together.logits(1);

      assertThat(expected).hasSize(VOCABULARY);
      assertThat(together.logits(0)).isNotEqualTo(expected);
      assertThat(read(runner, whole[39])).isEqualTo(before);

      int[] scattered = {7, 3, 5};
      int[] pieces = take(runner, ids.length);
      for (int first = 0; first < ids.length; first += 7) {
        int end = Math.min(ids.length, first + 7);
        int[] slots = Arrays.copyOfRange(pieces, first, end);
        ForwardBatch rows = block(scattered, first, slots);
        runner.embed(rows, Arrays.copyOfRange(ids, first, end));
        runner.run(0, 4, rows);
        runner.run(4, last.tap(), rows);
      }
      HeadOutput apart = runner.predict(last, block(scattered, 39, pieces[39]), new int[] {0}, 1);

      assertThat(apart.logits(0)).containsExactly(expected, within(1e-4f));
      assertThat(KeysAndValues.read(runner, 4, 3, 9))
          .containsExactly(KeysAndValues.read(runner, 4, 1, 9), within(1e-5f));
      runner.copyPage(3, 6);
      assertThat(KeysAndValues.read(runner, 4, 6, 9))
          .isEqualTo(KeysAndValues.read(runner, 4, 3, 9));
    }
  }

  static final List<String> GOLDEN = GoldenCase.NAMES;

  /** In pages that follow each other in memory, and in pages that do not. */
  @ParameterizedTest
  @FieldSource("GOLDEN")
  void logits_goldenCase_areTheOracles(String name) {
    GoldenCase golden = GoldenCase.named(name);
    int vocabulary = golden.architecture().model().vocabSize();
    Microbatch inputs = golden.inputs().getFirst();
    int[] ids = Arrays.copyOf(inputs.inputs(), inputs.sequence());
    for (int[] pages : new int[][] {{2, 3}, {5, 1}}) {
      try (Decoder model = golden.model();
          ModelRunner runner = new TorchRunner(model, Vocabulary.of(vocabulary), PAGES)) {
        RunnerText text = new RunnerText(runner, ids, pages);
        int at = 0;
        for (int count : new int[] {5, 1, 1, 9, 1, 7}) {
          float[][][] logits = text.next(count);
          for (Head head : model.allHeads()) {
            float[] expected =
                GoldenCase.floats(
                    golden
                        .tensors("expected.safetensors")
                        .get("logits." + GoldenCase.oracleName(head.id())));
            for (int row = 0; row < count; row++) {
              int first = (at + row) * vocabulary;
              assertThat(logits[head.index()][row])
                  .as("%s, position %d", head.id(), at + row)
                  .containsExactly(
                      Arrays.copyOfRange(expected, first, first + vocabulary),
                      within((float) golden.tolerance("logits_absolute")));
            }
          }
          at += count;
        }
      }
    }
  }
}
