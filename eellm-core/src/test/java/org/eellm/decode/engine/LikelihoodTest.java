package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Likelihoods of the last words of LAMBADA's texts, by a trained model. */
final class LikelihoodTest {
  private static final Path STORIES = Path.of("../shared/models/stories260K");
  private static final Path LAMBADA = Path.of("../shared/data/eval/lambada_test.jsonl");
  private static final int ITEMS = 100;
  private static final int LONGEST = 256;
  private static final int PAGES = LONGEST / ModelRunner.PAGE;

  private List<Item> items = List.of();

  /**
   * A text.
   *
   * @param ids the last so many tokens
   * @param asked rows that predict the last word's tokens
   */
  private record Item(int[] ids, int[] asked) {
    static Item of(Tokenizer tokenizer, String text) {
      int[] all = tokenizer.encode(text);
      int context = tokenizer.encode(text.substring(0, text.lastIndexOf(' '))).length;
      int[] ids = Arrays.copyOfRange(all, Math.max(0, all.length - LONGEST), all.length);
      int word = Math.max(1, all.length - context);
      return new Item(ids, IntStream.range(ids.length - 1 - word, ids.length - 1).toArray());
    }
  }

  @BeforeEach
  void readItems() throws IOException {
    assumeTrue(Files.exists(STORIES), () -> "skipped: needs " + STORIES);
    assumeTrue(Files.exists(LAMBADA), () -> "skipped: needs " + LAMBADA);
    Tokenizer tokenizer = Tokenizer.load(STORIES);
    List<Item> read = new ArrayList<>();
    for (String line : Files.readAllLines(LAMBADA).subList(0, ITEMS)) {
      String text = new ObjectMapper().readTree(line).get("text").asText();
      read.add(Item.of(tokenizer, text));
    }
    items = read;
  }

  @Test
  void likelihoods_inFloat32_areLibtorchs() {
    try (Decoder model = model(DataType.FLOAT32);
        ModelRunner theirs = new TorchRunner(model, Vocabulary.of(vocabulary(model)), PAGES);
        ModelRunner ours = kernels(model)) {
      for (Item item : items) {
        assertThat(likelihood(ours, item)).isCloseTo(likelihood(theirs, item), within(1e-3));
      }
    }
  }

  @Test
  void likelihoods_inBfloat16_areFloat32sButForRounding() {
    try (Decoder half = model(DataType.BFLOAT16);
        Decoder whole = model(DataType.FLOAT32);
        ModelRunner ours = kernels(half);
        ModelRunner exact = kernels(whole)) {
      double[] differences =
          items.stream()
              .mapToDouble(item -> Math.abs(likelihood(ours, item) - likelihood(exact, item)))
              .toArray();
      assertThat(Arrays.stream(differences).average().orElseThrow()).isBetween(1e-6, 0.1);
      assertThat(Arrays.stream(differences).max().orElseThrow()).isLessThan(0.5);
    }
  }

  private static Decoder model(DataType type) {
    Architecture stored = ModelFolder.resolve(STORIES).config().architecture();
    Architecture architecture = new Architecture(stored.model().withDtype(type), stored.exits());
    return ModelWeights.read(STORIES, architecture, Torch.cpu());
  }

  private static int vocabulary(Decoder model) {
    return model.architecture().model().vocabSize();
  }

  private static ModelRunner kernels(Decoder model) {
    return new KernelRunner(
        model, Vocabulary.of(vocabulary(model)), PAGES, 2, KernelChoice.FASTEST);
  }

  /** The natural logarithm of the last word's probability. */
  private static double likelihood(ModelRunner runner, Item item) {
    try (Scope _ = Scope.open()) {
      ForwardBatch rows = new ForwardBatch();
      rows.begin(IntStream.range(0, PAGES).toArray());
      for (int i = 0; i < item.ids().length; i++) {
        rows.add(runner.allocateSlot(), i);
      }
      runner.embed(rows, item.ids());
      var head = runner.model().allHeads().getLast();
      runner.run(0, head.tap(), rows);
      HeadOutput output = runner.predict(head, rows, item.asked(), item.asked().length);
      double sum = 0;
      for (int i = 0; i < item.asked().length; i++) {
        sum += output.logProbability(i, item.ids()[item.asked()[i] + 1]);
      }
      for (int row = 0; row < rows.rows(); row++) {
        runner.release(rows.slot(row));
      }
      return sum;
    }
  }
}
