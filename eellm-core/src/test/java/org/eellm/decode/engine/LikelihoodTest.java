package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.SavedModel;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.golden.SharedFiles;
import org.eellm.golden.Stories;
import org.eellm.model.Decoder;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Likelihoods of the last words of LAMBADA's texts, by a trained model. */
final class LikelihoodTest {
  private static final int ITEMS = 100;
  private static final int LONGEST = 256;
  private static final int PAGES = LONGEST / ModelRunner.PAGE;

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

  /** A model and texts; the real ones only where they are at hand. */
  static Stream<Arguments> cases() {
    Path own = Stories.folder();
    return Stream.concat(
        Stream.of(Arguments.of(own, own.resolve("eval/lambada_test.jsonl"))),
        SharedFiles.both("models/stories260K", "data/eval/lambada_test.jsonl"));
  }

  private static List<Item> items(Path stories, Path texts) throws IOException {
    Tokenizer tokenizer = Tokenizer.load(stories);
    List<Item> read = new ArrayList<>();
    for (String line : Files.readAllLines(texts).subList(0, ITEMS)) {
      String text = new ObjectMapper().readTree(line).get("text").asText();
      read.add(Item.of(tokenizer, text));
    }
    return read;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void likelihoods_inFloat32_areLibtorchs(Path stories, Path texts) throws IOException {
    List<Item> items = items(stories, texts);
    try (Decoder model = model(stories, DataType.FLOAT32);
        ModelRunner theirs = new TorchRunner(model, Vocabulary.of(vocabulary(model)), PAGES);
        ModelRunner ours = kernels(model)) {
      for (Item item : items) {
        assertThat(likelihood(ours, item)).isCloseTo(likelihood(theirs, item), within(1e-3));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void likelihoods_inBfloat16_areFloat32sButForRounding(Path stories, Path texts)
      throws IOException {
    List<Item> items = items(stories, texts);
    try (Decoder half = model(stories, DataType.BFLOAT16);
        Decoder whole = model(stories, DataType.FLOAT32);
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

  private static Decoder model(Path stories, DataType type) {
    Architecture stored = ModelFolder.resolve(stories).config().architecture();
    Architecture architecture = new Architecture(stored.model().withDtype(type), stored.exits());
    return SavedModel.readWeights(stories, architecture, Torch.cpu());
  }

  private static int vocabulary(Decoder model) {
    return model.architecture().model().vocabSize();
  }

  private static ModelRunner kernels(Decoder model) {
    return new KernelRunner(model, Vocabulary.of(vocabulary(model)), PAGES, 2);
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
