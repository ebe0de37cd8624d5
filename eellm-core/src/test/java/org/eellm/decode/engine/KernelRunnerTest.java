package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.ModelConfig.Residual;
import org.eellm.config.Quantization;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Our kernels beside libtorch's operations, on every family; and rows beside other rows. */
@Tag("vectors")
final class KernelRunnerTest {
  @TempDir private Path folder;

  private static final int VOCABULARY = 150;
  private static final int PAGES = 36;

  /** Shapes that differ in everything a kernel has to know. */
  enum Family {
    LLAMA,
    LLAMA_ODD_WIDTHS,
    QWEN_2,
    QWEN_3,
    GPT_2,
    NEO_X,
    BLOCKS,
    BRANCH_MLPS;

    Architecture architecture(DataType type) {
      boolean gpt = this == GPT_2 || this == NEO_X;
      int headDim = this == LLAMA_ODD_WIDTHS ? 10 : 16;
      int heads = this == LLAMA_ODD_WIDTHS ? 6 : 4;
      int keyValueHeads = gpt ? heads : 2;
      ModelConfig model =
          ModelConfig.builder()
              .vocabSize(VOCABULARY)
              .hiddenSize(this == LLAMA_ODD_WIDTHS ? 54 : 64)
              .numLayers(4)
              .numHeads(heads)
              .numKeyValueHeads(keyValueHeads)
              .headDim(headDim)
              .ffnHiddenSize(this == LLAMA_ODD_WIDTHS ? 75 : 96)
              .maxPositions(160)
              .normalization(gpt ? Normalization.LAYERNORM : Normalization.RMSNORM)
              .residual(this == NEO_X ? Residual.PARALLEL : Residual.SEQUENTIAL)
              .positionEmbedding(this == GPT_2 ? PositionEmbedding.LEARNED : PositionEmbedding.ROPE)
              .rotaryFraction(this == NEO_X ? 0.25 : 1)
              .activation(
                  this == GPT_2
                      ? Activation.GELU_TANH
                      : this == NEO_X ? Activation.GELU : Activation.SWIGLU)
              .linearBias(gpt)
              .qkvBias(this == QWEN_2)
              .qkNorm(this == QWEN_3)
              .tieEmbeddings(this == GPT_2)
              .initStd(0.15)
              .dtype(type)
              .build();
      boolean mlp = this == BRANCH_MLPS || this == NEO_X;
      return new Architecture(
          model, new ExitLayout(List.of(1, 3), this != QWEN_2, mlp, this == BLOCKS, false));
    }

    Decoder decoder(DataType type) {
      Decoder decoder = Decoder.allocate(architecture(type), Torch.cpu());
      decoder.initialize(ordinal() + 1);
      return decoder;
    }
  }

  private static KernelRunner runner(DecodingModel model, int threads, KernelChoice choice) {
    return new KernelRunner(model, Vocabulary.of(VOCABULARY), PAGES, threads, choice);
  }

  /** A text on its way through a runner, all heads asked about some of its rows. */
  private static final class Text {
    private final ModelRunner runner;
    private final int[] ids;
    private final int[] pages;
    private int done;

    Text(ModelRunner runner, int seed, int length, int... pages) {
      this.runner = runner;
      this.pages = pages;
      ids = new Random(seed).ints(length, 0, VOCABULARY).toArray();
    }

    /** The logits of all heads for the next rows, [heads][rows][vocabulary]. */
    float[][][] next(int count) {
      return next(List.of(this), count).getFirst();
    }

    /** The same of several texts, whose rows pass as one block. */
    static List<float[][][]> next(List<Text> texts, int count) {
      ModelRunner runner = texts.getFirst().runner;
      ForwardBatch rows = new ForwardBatch();
      int[] ids = new int[texts.size() * count];
      int[] asked = IntStream.range(0, ids.length).toArray();
      for (Text text : texts) {
        rows.begin(text.pages);
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
  }

  @ParameterizedTest
  @EnumSource
  void logits_inFloat32_areLibtorchs(Family family) {
    try (Decoder model = family.decoder(DataType.FLOAT32);
        KernelRunner ours = runner(model, 2, KernelChoice.FASTEST);
        TorchRunner theirs = new TorchRunner(model, Vocabulary.of(VOCABULARY), PAGES)) {
      Text a = new Text(ours, 1, 60, 7, 2, 9, 0);
      Text b = new Text(theirs, 1, 60, 0, 1, 2, 3);
      for (int count : new int[] {1, 20, 2, 1, 17, 5}) {
        assertClose(a.next(count), b.next(count), 2e-4f);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void logits_inBfloat16_areFloat32sWithinItsPrecision(Family family) {
    try (Decoder half = family.decoder(DataType.BFLOAT16);
        Decoder whole = family.decoder(DataType.FLOAT32)) {
      for (var parameter : whole.parameters().all()) {
        parameter.value().copy_(half.parameters().get(parameter.name()).value());
      }
      try (KernelRunner ours = runner(half, 2, KernelChoice.FASTEST);
          KernelRunner exact = runner(whole, 2, KernelChoice.FASTEST)) {
        Text a = new Text(ours, 1, 60, 0, 1, 2, 3);
        Text b = new Text(exact, 1, 60, 0, 1, 2, 3);
        for (int count : new int[] {20, 1, 3}) {
          assertClose(a.next(count), b.next(count), 0.05f);
        }
      }
    }
  }

  private static void assertClose(float[][][] ours, float[][][] theirs, float share) {
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

  static Stream<org.junit.jupiter.params.provider.Arguments> formatsAndChoices() {
    return Stream.of(DataType.values())
        .flatMap(
            type ->
                Stream.of(KernelChoice.values())
                    .flatMap(
                        choice ->
                            Stream.of(Family.LLAMA, Family.NEO_X, Family.BLOCKS)
                                .map(
                                    family ->
                                        org.junit.jupiter.params.provider.Arguments.of(
                                            family, type, choice))));
  }

  @ParameterizedTest
  @MethodSource("formatsAndChoices")
  void logits_ofRowsInBlocksAndBatches_equalSingleRowsToTheBit(
      Family family, DataType type, KernelChoice choice) {
    try (Decoder model = family.decoder(type);
        KernelRunner runner = runner(model, 2, choice)) {
      Text alone = new Text(runner, 1, 66, 0, 1, 2, 3, 4);
      float[][][][] expected = new float[66][][][];
      Arrays.setAll(expected, i -> alone.next(1));
      Text blocks = new Text(runner, 1, 66, 5, 6, 7, 8, 9);
      int at = 0;
      for (int count : new int[] {2, 3, 1, 9, 33, 4, 8, 6}) {
        float[][][] block = blocks.next(count);
        for (int row = 0; row < count; row++) {
          for (int head = 0; head < block.length; head++) {
            assertThat(block[head][row]).containsExactly(expected[at + row][head][0]);
          }
        }
        at += count;
      }
      Text first = new Text(runner, 1, 66, 10, 11, 12, 13, 14);
      Text other = new Text(runner, 2, 66, 23, 22, 21, 20, 19);
      for (int row = 0; row < 66; row += 3) {
        float[][][] batch = Text.next(List.of(other, first), 3).getLast();
        for (int head = 0; head < batch.length; head++) {
          for (int i = 0; i < 3; i++) {
            assertThat(batch[head][i]).containsExactly(expected[row + i][head][0]);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void logits_ofBothKernelsAndAnyThreads_areEqualToTheBit(Family family) {
    try (Decoder model = family.decoder(DataType.BFLOAT16);
        KernelRunner fastest = runner(model, 2, KernelChoice.FASTEST);
        KernelRunner vectors = runner(model, 3, KernelChoice.VECTORS);
        KernelRunner single = runner(model, 1, KernelChoice.VECTORS)) {
      Text a = new Text(fastest, 1, 40, 0, 1, 2);
      Text b = new Text(vectors, 1, 40, 3, 1, 2);
      Text c = new Text(single, 1, 40, 0, 5, 2);
      for (int count : new int[] {1, 30, 4}) {
        float[][][] expected = a.next(count);
        assertThat(b.next(count)).isDeepEqualTo(expected);
        assertThat(c.next(count)).isDeepEqualTo(expected);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void propagate_anyFamily_writesTheKeysAndValuesThatLibtorchWrites(Family family) {
    try (Decoder model = family.decoder(DataType.FLOAT32);
        KernelRunner ours = runner(model, 2, KernelChoice.FASTEST);
        TorchRunner theirs = new TorchRunner(model, Vocabulary.of(VOCABULARY), PAGES)) {
      float[][] expected = propagated(theirs);
      float[][] actual = propagated(ours);
      for (int i = 0; i < expected.length; i++) {
        assertThat(actual[i]).usingComparatorWithPrecision(2e-4f).containsExactly(expected[i]);
      }
    }
  }

  /** Keys and values that are written above an exit's tap, by layer and row. */
  private static float[][] propagated(ModelRunner runner) {
    int tap = runner.model().allHeads().getFirst().tap();
    int layers = runner.model().architecture().model().numLayers();
    ForwardBatch rows = new ForwardBatch();
    int[] ids = {3, 100, 149, 7, 20};
    for (int text = 0; text < 2; text++) {
      rows.begin(new int[] {text});
      for (int position = 0; position < (text == 0 ? 3 : 2); position++) {
        rows.add(runner.allocateSlot(), position);
      }
    }
    runner.embed(rows, ids);
    runner.run(0, tap, rows);
    runner.propagate(tap, 2 * layers, rows);
    List<float[]> all = new ArrayList<>();
    for (int layer = Math.ceilDiv(tap, 2); layer < layers; layer++) {
      for (int row = 0; row < ids.length; row++) {
        all.add(runner.keysAndValues(layer, row < 3 ? 0 : 1, row < 3 ? row : row - 3));
      }
    }
    return all.toArray(float[][]::new);
  }

  @ParameterizedTest
  @EnumSource
  void pack_filesOfAnyFamily_sharesWhatIsPackedAndDecodesAsTheModelInMemory(Family family)
      throws IOException {
    try (Decoder model = family.decoder(DataType.BFLOAT16)) {
      float[][][] expected;
      try (KernelRunner own = runner(model, 2, KernelChoice.FASTEST)) {
        expected = new Text(own, 1, 20, 0, 1).next(20);
      }
      try (StoredDecoder stored = stored(model, MatrixQuantization.NONE)) {
        ModelRunner.pack(stored);

        for (int i = 0; i < 2; i++) { // runners share what is packed, and leave it to the next
          try (KernelRunner shared = runner(stored, 2, KernelChoice.FASTEST)) {
            assertThat(new Text(shared, 1, 20, 2, 3).next(20)).isDeepEqualTo(expected);
          }
        }
        assertThatThrownBy(() -> stored.rows("model.norm.weight"))
            .isInstanceOf(IllegalStateException.class);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void pack_filesInAnotherFormat_roundsAsTheModelDoes(DataType type) throws IOException {
    DataType other = type == DataType.FLOAT32 ? DataType.BFLOAT16 : DataType.FLOAT32;
    try (Decoder model = Family.LLAMA_ODD_WIDTHS.decoder(other);
        Decoder read = Decoder.allocate(Family.LLAMA_ODD_WIDTHS.architecture(type), Torch.cpu())) {
      try (StoredDecoder stored = stored(model, read.architecture(), MatrixQuantization.NONE);
          KernelRunner ours = runner(stored, 2, KernelChoice.FASTEST)) {
        ModelWeights.load(folder, read);
        try (KernelRunner theirs = runner(read, 2, KernelChoice.FASTEST)) {
          assertThat(new Text(ours, 1, 20, 0, 1).next(20))
              .isDeepEqualTo(new Text(theirs, 1, 20, 0, 1).next(20));
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"INT8, INT8, 0.15", "INT4, INT4, 1.5", "INT4, NONE, 1.5", "NONE, INT8, 0.03"})
  void logits_ofQuantizedMatrices_areNearThoseOfWholeOnes(
      Quantization layers, Quantization heads, float tolerance) throws IOException {
    MatrixQuantization quantization = new MatrixQuantization(layers, heads);
    try (Decoder model = Family.LLAMA_ODD_WIDTHS.decoder(DataType.FLOAT32);
        StoredDecoder stored = stored(model, quantization);
        KernelRunner ours = runner(stored, 2, KernelChoice.FASTEST);
        KernelRunner whole = runner(model, 2, KernelChoice.FASTEST)) {
      Text a = new Text(ours, 1, 40, 0, 1, 2);
      Text b = new Text(whole, 1, 40, 0, 1, 2);
      for (int count : new int[] {20, 1, 3}) {
        assertClose(a.next(count), b.next(count), tolerance);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"LLAMA_ODD_WIDTHS", "GPT_2"})
  void logits_ofKeysAndValuesInEightBits_areNearThoseOfWholeOnesAndOfAnyBatch(Family family)
      throws IOException {
    MatrixQuantization eight = MatrixQuantization.NONE.withCache(Quantization.INT8);
    try (Decoder model = family.decoder(DataType.FLOAT32);
        StoredDecoder stored = stored(model, eight);
        KernelRunner ours = runner(stored, 2, KernelChoice.FASTEST);
        KernelRunner whole = runner(model, 2, KernelChoice.FASTEST)) {
      Text a = new Text(ours, 1, 40, 0, 1, 2);
      Text b = new Text(whole, 1, 40, 0, 1, 2);
      Text alone = new Text(ours, 1, 40, 3, 4, 5);
      for (int count : new int[] {20, 1, 3}) {
        float[][][] block = a.next(count);
        assertClose(block, b.next(count), 0.05f);
        for (int row = 0; row < count; row++) {
          float[][][] single = alone.next(1);
          for (int head = 0; head < block.length; head++) {
            assertThat(block[head][row]).containsExactly(single[head][0]);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void logits_ofQuantizedMatrices_areTheSameByTheVectorApi(Quantization quantization)
      throws IOException {
    MatrixQuantization all = new MatrixQuantization(quantization, quantization);
    try (Decoder model = Family.LLAMA_ODD_WIDTHS.decoder(DataType.FLOAT32);
        StoredDecoder stored = stored(model, all);
        KernelRunner fastest = runner(stored, 2, KernelChoice.FASTEST);
        KernelRunner vectors = runner(stored, 1, KernelChoice.VECTORS)) {
      Text a = new Text(fastest, 1, 40, 0, 1, 2);
      Text b = new Text(vectors, 1, 40, 0, 1, 2);
      for (int count : new int[] {20, 1, 3}) {
        assertThat(a.next(count)).isDeepEqualTo(b.next(count));
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void logits_ofQuantizedRowsInBlocksAndBatches_equalSingleRowsToTheBit(Quantization quantization)
      throws IOException {
    MatrixQuantization all = new MatrixQuantization(quantization, quantization);
    try (Decoder model = Family.LLAMA_ODD_WIDTHS.decoder(DataType.BFLOAT16);
        StoredDecoder stored = stored(model, all);
        KernelRunner runner = runner(stored, 2, KernelChoice.FASTEST)) {
      Text alone = new Text(runner, 1, 60, 0, 1, 2, 3);
      float[][][][] expected = new float[60][][][];
      Arrays.setAll(expected, i -> alone.next(1));
      List<Text> texts =
          IntStream.range(0, 8)
              .mapToObj(i -> new Text(runner, i == 5 ? 1 : 10 + i, 60, pages(4 + 4 * i)))
              .toList();
      for (int at = 0, count = 1; at < 60; at += count, count = Math.min(count + 1, 60 - at)) {
        float[][][] batch = Text.next(texts, count).get(5);
        for (int head = 0; head < batch.length; head++) {
          for (int row = 0; row < count; row++) {
            assertThat(batch[head][row]).containsExactly(expected[at + row][head][0]);
          }
        }
      }
    }
  }

  private static int[] pages(int first) {
    return IntStream.range(first, first + 4).toArray();
  }

  @Test
  void rows_ofAQuantizedDecoder_areRefused() {
    Architecture architecture = Family.LLAMA.architecture(DataType.FLOAT32);
    try (Decoder model = Decoder.allocate(architecture, Quantization.INT8, Torch.cpu())) {
      assertThatThrownBy(() -> runner(model, 1, KernelChoice.FASTEST))
          .hasMessageContaining("has been quantized");
    }
  }

  @Test
  void stored_lens_readsTheFinalHeadAfterEveryLayer() throws IOException {
    try (Decoder model = Family.LLAMA.decoder(DataType.FLOAT32)) {
      try (StoredDecoder lens =
              new ModelFolder(saved(model), Optional.empty())
                  .stored(StoredDecoder.Part.logitLens(model.architecture()));
          Decoder read = Decoder.logitLens(model.architecture(), Torch.cpu());
          KernelRunner ours = runner(lens, 2, KernelChoice.FASTEST)) {
        ModelFolder files = new ModelFolder(folder, Optional.empty());
        files.load(read);
        try (KernelRunner theirs = runner(read, 2, KernelChoice.FASTEST)) {
          float[][][] logits = new Text(ours, 1, 20, 0, 1).next(20);
          assertThat(logits.length).isEqualTo(4);
          assertThat(logits).isDeepEqualTo(new Text(theirs, 1, 20, 0, 1).next(20));
        }
      }
    }
  }

  private Path saved(Decoder model) throws IOException {
    new HuggingFaceConfig(model.architecture(), OptionalInt.empty(), List.of()).write(folder);
    ModelWeights.save(folder, model);
    return folder;
  }

  private StoredDecoder stored(Decoder model, MatrixQuantization quantization) throws IOException {
    return stored(model, model.architecture(), quantization);
  }

  private StoredDecoder stored(Decoder model, Architecture read, MatrixQuantization quantization)
      throws IOException {
    return new ModelFolder(saved(model), Optional.empty())
        .stored(StoredDecoder.Part.whole(read, quantization));
  }

  @Test
  void figures_ofOutputs_areThoseOfTheLogits() {
    try (Decoder model = Family.LLAMA.decoder(DataType.FLOAT32);
        KernelRunner runner = runner(model, 2, KernelChoice.FASTEST)) {
      ForwardBatch rows = new ForwardBatch();
      rows.begin(new int[] {0});
      rows.add(runner.allocateSlot(), 0);
      runner.embed(rows, new int[] {7});
      HeadOutput plain = runner.predict(model.allHeads().getLast(), rows, new int[] {0}, 1);
      for (double temperature : new double[] {1, 0.5, 2}) {
        HeadOutput output = plain.tempered(temperature);
        double[] logits = new double[VOCABULARY];
        Arrays.setAll(logits, id -> plain.logits(0)[id] / temperature);
        double total = Arrays.stream(logits).map(Math::exp).sum();
        double[] probabilities = Arrays.stream(logits).map(z -> Math.exp(z) / total).toArray();
        Integer[] ids = IntStream.range(0, VOCABULARY).boxed().toArray(Integer[]::new);
        Arrays.sort(ids, (a, b) -> Double.compare(probabilities[b], probabilities[a]));
        double entropy = -Arrays.stream(probabilities).map(p -> p * Math.log(p)).sum();

        assertThat(output.best(0)).isEqualTo(ids[0]);
        assertThat(output.maxProbability(0)).isCloseTo(probabilities[ids[0]], within());
        assertThat(output.margin(0))
            .isCloseTo(probabilities[ids[0]] - probabilities[ids[1]], within());
        assertThat(output.entropy(0)).isCloseTo(entropy, within());
        assertThat(output.logProbability(0, 3)).isCloseTo(Math.log(probabilities[3]), within());
        assertThat(output.top(0, 5).stream().map(HeadOutput.TokenScore::id).toList())
            .isEqualTo(Arrays.asList(ids).subList(0, 5));
        assertThat(output.top(0, 1000)).hasSize(VOCABULARY);
      }
    }
  }

  private static org.assertj.core.data.Offset<Double> within() {
    return org.assertj.core.api.Assertions.within(1e-5);
  }

  @Test
  void configured_unknownChoice_namesTheKnownOnes() {
    System.setProperty(KernelChoice.PROPERTY, "quick");
    try {
      assertThatThrownBy(KernelChoice::configured)
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              "-Deellm.kernel: 'quick' is no choice of kernels; use one of fastest, vectors in"
                  + " EELLM_JAVA_OPTS");
    } finally {
      System.clearProperty(KernelChoice.PROPERTY);
    }
  }
}
