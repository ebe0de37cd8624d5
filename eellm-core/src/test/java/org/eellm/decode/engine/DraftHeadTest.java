package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.decode.SmallModel;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What exits draft is what they predict, of the listed ids alone. */
final class DraftHeadTest {
  private static final int ROWS = 5;
  private static final List<Integer> LIST =
      IntStream.range(0, SmallModel.VOCABULARY).filter(id -> id % 3 == 1).boxed().toList();

  @ParameterizedTest
  @EnumSource
  void draft_kernels_isWhatThePredictionSaysOfTheList(DataType type) {
    try (Decoder model = SmallModel.withWideHeads(type);
        KernelRunner runner = new KernelRunner(model, vocabulary(), 4, 2)) {
      assertDrafts(runner);
    }
  }

  @Test
  void draft_libtorch_isWhatThePredictionSaysOfTheList() {
    try (Decoder model = SmallModel.plain();
        TorchRunner runner = new TorchRunner(model, vocabulary(), 4)) {
      assertDrafts(runner);
    }
  }

  @ParameterizedTest
  @EnumSource
  void with_kernels_isWhatThePredictionSaysOfTheListAndMore(DataType type) {
    try (Decoder model = SmallModel.withWideHeads(type);
        KernelRunner runner = new KernelRunner(model, vocabulary(), 4, 2)) {
      assertExtended(runner, type == DataType.FLOAT32 ? 1e-4f : 0.05f);
    }
  }

  @ParameterizedTest
  @EnumSource
  void with_tiedEmbedding_isWhatThePredictionSaysOfTheListAndMore(DataType type) {
    try (Decoder model = SmallModel.tied(type);
        KernelRunner runner = new KernelRunner(model, vocabulary(), 4, 2)) {
      assertExtended(runner, type == DataType.FLOAT32 ? 1e-4f : 0.05f);
    }
  }

  @Test
  void with_libtorch_isWhatThePredictionSaysOfTheListAndMore() {
    try (Decoder model = SmallModel.plain();
        TorchRunner runner = new TorchRunner(model, vocabulary(), 4)) {
      assertExtended(runner, 1e-4f);
    }
  }

  /** Of 300 tokens the first 44 are too far back. */
  @Test
  void withRecentIds_longText_looksAtItsLastTokens() {
    try (Decoder model = SmallModel.tied(DataType.FLOAT32);
        KernelRunner runner = new KernelRunner(model, vocabulary(), 4, 2)) {
      Head exit = runner.model().allHeads().getFirst();
      HeadOutput draft = runner.draft(exit, embedded(runner, exit), new int[] {0}, 1);
      List<Integer> text = new ArrayList<>(Collections.nCopies(300, 6));
      text.set(43, 3);
      text.set(44, 9);
      Prediction prediction = new Prediction(draft, 0, new Tokens(text, 300), List.of());

      assertThat(prediction.isOfShortList()).isTrue();
      assertThat(prediction.withRecentIds(new int[] {12}).shortlistIds())
          .contains(6, 9, 12)
          .doesNotContain(3);
      assertThat(prediction.withRecentIds(new int[] {12}).tempered(2).shortlistIds())
          .contains(6, 9, 12);
    }
  }

  private static ForwardBatch embedded(ModelRunner runner, Head exit) {
    ForwardBatch rows = new ForwardBatch();
    rows.begin(new int[] {0});
    for (int position = 0; position < ROWS; position++) {
      rows.add(runner.allocateSlot(), position);
    }
    runner.embed(rows, new Random(1).ints(ROWS, 0, SmallModel.VOCABULARY).toArray());
    runner.run(0, exit.tap(), rows);
    return rows;
  }

  private static void assertExtended(ModelRunner runner, float tolerance) {
    int[] asked = {1, 2, 4};
    int[] more = {8, 0, 4, 3, 8, 30, SmallModel.VOCABULARY + 1};
    List<Integer> ids =
        IntStream.concat(IntStream.of(0, 3, 8, 30), LIST.stream().mapToInt(id -> id))
            .sorted()
            .boxed()
            .toList();
    Head exit = runner.model().allHeads().getFirst();
    ForwardBatch rows = embedded(runner, exit);
    HeadOutput all = runner.predict(exit, rows, asked, asked.length);
    float[][] logits = {all.logits(0), all.logits(1), all.logits(2)};
    HeadOutput draft = runner.draft(exit, rows, asked, asked.length);

    assertThat(draft.with(0, new int[] {1, 4})).isSameAs(draft);
    for (int row = 0; row < asked.length; row++) {
      float[] exact = logits[row];
      HeadOutput extended = draft.with(row, more);
      assertThat(extended.ids()).containsExactly(ids.stream().mapToInt(id -> id).toArray());
      double sum = ids.stream().mapToDouble(id -> Math.exp(exact[id])).sum();
      double[] best = ids.stream().mapToDouble(id -> -exact[id]).sorted().toArray();
      double entropy = 0;
      float[] scores = extended.shortlistLogits(row);
      for (int i = 0; i < scores.length; i++) {
        int id = ids.get(i);
        assertThat(scores[i]).isCloseTo(exact[id], within(tolerance));
        assertThat(extended.logits(row)[id]).isEqualTo(scores[i]);
        assertThat(extended.logProbability(row, id))
            .isCloseTo(exact[id] - Math.log(sum), within((double) tolerance));
        entropy -= (exact[id] - Math.log(sum)) * Math.exp(exact[id]) / sum;
      }
      assertThat(-exact[extended.best(row)]).isCloseTo((float) best[0], within(tolerance));
      assertThat(extended.maxProbability(row))
          .isCloseTo(Math.exp(-best[0]) / sum, within((double) tolerance));
      assertThat(extended.margin(row))
          .isCloseTo((Math.exp(-best[0]) - Math.exp(-best[1])) / sum, within((double) tolerance));
      assertThat(extended.entropy(row)).isCloseTo(entropy, within((double) tolerance));
      assertThat(extended.logit(row, 2)).isEqualTo(Float.NEGATIVE_INFINITY);
      assertThat(extended.top(row, 2).getFirst().id()).isEqualTo(extended.best(row));
      assertThat(extended.top(row, 99)).hasSize(ids.size());
    }
  }

  private static Vocabulary vocabulary() {
    return new Vocabulary(SmallModel.VOCABULARY, LIST);
  }

  private static void assertDrafts(ModelRunner runner) {
    ForwardBatch rows = new ForwardBatch();
    rows.begin(new int[] {0});
    for (int position = 0; position < ROWS; position++) {
      rows.add(runner.allocateSlot(), position);
    }
    runner.embed(rows, new Random(1).ints(ROWS, 0, SmallModel.VOCABULARY).toArray());
    int[] asked = {1, 2, 4};
    Head exit = runner.model().allHeads().getFirst();
    runner.run(0, exit.tap(), rows);
    HeadOutput all = runner.predict(exit, rows, asked, asked.length);
    float[][] logits = {all.logits(0), all.logits(1), all.logits(2)};

    HeadOutput draft = runner.draft(exit, rows, asked, asked.length);

    assertThat(draft.ids()).containsExactly(LIST.stream().mapToInt(Integer::intValue).toArray());
    for (int row = 0; row < asked.length; row++) {
      int best = LIST.getFirst();
      double sum = 0;
      for (int id : LIST) {
        assertThat(draft.logits(row)[id]).isEqualTo(logits[row][id]);
        best = logits[row][id] > logits[row][best] ? id : best;
        sum += Math.exp(logits[row][id]);
      }
      assertThat(draft.logits(row)[0]).isEqualTo(Float.NEGATIVE_INFINITY);
      assertThat(draft.best(row)).isEqualTo(best);
      assertThat(draft.maxProbability(row))
          .isCloseTo(Math.exp(logits[row][best]) / sum, within(1e-5));
      assertThat(draft.logProbability(row, 0)).isEqualTo(Double.NEGATIVE_INFINITY);
      assertThat(draft.top(row, 2).getFirst().id()).isEqualTo(best);
      assertThat(draft.shortlistLogits(row)).hasSize(LIST.size());
    }
    assertHidden(runner, exit, rows, asked);
  }

  /** The state behind the norm, whose weights are 1, and its product to the bit for any rows. */
  private static void assertHidden(ModelRunner runner, Head exit, ForwardBatch rows, int[] asked) {
    HeadOutput draft = runner.draft(exit, rows, asked, asked.length);
    int width = runner.model().architecture().model().hiddenSize();
    float[] floats = new float[width];
    Random random = new Random(2);
    for (int i = 0; i < width; i++) {
      floats[i] = random.nextFloat() - 0.5f;
    }
    double[] products = new double[asked.length];
    for (int row = 0; row < asked.length; row++) {
      double[] normed = normed(runner, rows.slot(asked[row]));
      float[] hidden = draft.hidden(row);
      double product = 0;
      for (int i = 0; i < width; i++) {
        assertThat((double) hidden[i]).isCloseTo(normed[i], within(2e-2 + 1e-5));
        product += (double) hidden[i] * floats[i];
      }
      products[row] = draft.timesHidden(row, floats);
      assertThat(products[row]).isCloseTo(product, within(1e-4));
      assertThat(draft.tempered(2).timesHidden(row, floats)).isEqualTo(products[row]);
    }
    for (int row = 0; row < asked.length; row++) {
      HeadOutput alone = runner.draft(exit, rows, new int[] {asked[row]}, 1);
      assertThat(alone.timesHidden(0, floats)).isEqualTo(products[row]);
    }
  }

  private static double[] normed(ModelRunner runner, int slot) {
    byte[] bytes = new byte[runner.hiddenBytes()];
    runner.read(slot, bytes, 0);
    FloatBuffer x = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer();
    double[] normed = new double[runner.model().architecture().model().hiddenSize()];
    double squares = 0;
    for (int i = 0; i < normed.length; i++) {
      squares += (double) x.get(i) * x.get(i) / normed.length;
    }
    double epsilon = runner.model().architecture().model().normEpsilon();
    for (int i = 0; i < normed.length; i++) {
      normed[i] = x.get(i) / Math.sqrt(squares + epsilon);
    }
    return normed;
  }

  @Test
  void vocabulary_unsortedOrForeignIds_areRefused() {
    assertThatThrownBy(() -> new Vocabulary(10, List.of(3, 3)))
        .isInstanceOf(ConfigException.class)
        .hasMessage("draft-vocabulary: 3 after 3: ids have to ascend, within 0..9");
    assertThatThrownBy(() -> new Vocabulary(10, List.of(10)))
        .isInstanceOf(ConfigException.class)
        .hasMessage("draft-vocabulary: 10 after -1: ids have to ascend, within 0..9");
  }
}
