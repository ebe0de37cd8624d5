package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.stream.IntStream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.gguf.GgufFixture;
import org.eellm.gguf.GgufType;
import org.eellm.gguf.QuantisedFixture;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Logits of models whose matrices are a GGUF file's own groups. */
final class GgufLogitsTest {
  private static final int HIDDEN = 256;
  private static final int INNER = 512;
  private static final int HEADS = 4;
  private static final int WIDTH = 64;
  private static final int KEYS = 2 * WIDTH;
  private static final int VOCABULARY = 70;

  @TempDir private Path folder;

  /** Numbers of the file's matrices, [out, in] in the file's order. */
  private final Map<String, float[]> matrices = new LinkedHashMap<>();

  private float norm; // the weight of all norms

  private ModelFolder write(GgufType layers, GgufType embedding) throws IOException {
    GgufFixture file =
        new GgufFixture()
            .text("general.architecture", "llama")
            .number("llama.context_length", 128)
            .number("llama.embedding_length", HIDDEN)
            .number("llama.block_count", 1)
            .number("llama.feed_forward_length", INNER)
            .number("llama.attention.head_count", HEADS)
            .number("llama.attention.head_count_kv", KEYS / WIDTH)
            .real("llama.attention.layer_norm_rms_epsilon", 1e-6f);
    norm = layers == GgufType.Q4_0 ? 0.05f : 0.003f; // so that attention is to several tokens
    Random random = new Random(11);
    matrix(file, "token_embd", embedding, HIDDEN, VOCABULARY, random);
    matrix(file, "blk.0.attn_q", layers, HIDDEN, HIDDEN, random);
    matrix(file, "blk.0.attn_k", layers, HIDDEN, KEYS, random);
    matrix(file, "blk.0.attn_v", layers, HIDDEN, KEYS, random);
    matrix(file, "blk.0.attn_output", layers, HIDDEN, HIDDEN, random);
    matrix(file, "blk.0.ffn_gate", layers, HIDDEN, INNER, random);
    matrix(file, "blk.0.ffn_up", layers, HIDDEN, INNER, random);
    matrix(file, "blk.0.ffn_down", layers, INNER, HIDDEN, random);
    for (String name : List.of("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")) {
      ByteBuffer weights = ByteBuffer.allocate(4 * HIDDEN).order(ByteOrder.LITTLE_ENDIAN);
      for (int i = 0; i < HIDDEN; i++) {
        weights.putFloat(norm);
      }
      file.tensor(name + ".weight", List.of((long) HIDDEN), 0, weights.array());
    }
    return new ModelFolder(file.write(folder.resolve("model.gguf")), Optional.empty());
  }

  private void matrix(
      GgufFixture file, String name, GgufType type, long in, long out, Random random) {
    int number =
        switch (type) {
          case Q4_0 -> 2;
          case Q8_0 -> 8;
          case Q6_K -> 14;
          default -> throw new IllegalArgumentException(type.name());
        };
    int groups = Math.toIntExact(in * out / type.group());
    QuantisedFixture drawn = QuantisedFixture.of(type, groups, random);
    matrices.put(name, drawn.values());
    file.tensor(name + ".weight", List.of(in, out), number, drawn.bytes());
  }

  private static StoredDecoder stored(ModelFolder files, MatrixQuantization quantization) {
    return files.stored(StoredDecoder.Part.whole(files.config().architecture(), quantization));
  }

  @ParameterizedTest
  @CsvSource({
    "Q8_0, Q8_0, INT8, INT8",
    "Q4_0, Q4_0, INT4, INT4",
    "Q4_0, Q6_K, INT4, INT8",
    "Q6_K, Q8_0, INT8, INT8"
  })
  void quantization_ofAFile_isItsOwn(
      GgufType type, GgufType embedding, Quantization layers, Quantization heads)
      throws IOException {
    assertThat(write(type, embedding).quantization())
        .isEqualTo(new MatrixQuantization(layers, heads));
  }

  @ParameterizedTest
  @CsvSource({"Q8_0, Q8_0", "Q4_0, Q4_0", "Q4_0, Q8_0", "Q8_0, Q4_0"})
  void logits_ofTheFirstToken_areThoseOfTheGroupsInFloat64(GgufType layers, GgufType embedding)
      throws IOException {
    ModelFolder files = write(layers, embedding);
    double[] expected = expected(5);
    double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
    float[] logits = logits(files, files.quantization(), 5)[0];
    // A number between two others may be rounded to either, by float32's error.
    for (int id = 0; id < VOCABULARY; id++) {
      assertThat((double) logits[id]).isCloseTo(expected[id], within(1e-2 * largest));
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"Q8_0", "Q4_0"})
  void logits_ofGroups_areNearThoseOfWholeNumbers(GgufType type) throws IOException {
    ModelFolder files = write(type, type);
    int[] ids = IntStream.range(0, 20).toArray();
    float[][] groups = logits(files, files.quantization(), ids);
    float[][] whole = logits(files, MatrixQuantization.NONE, ids);
    for (int row = 0; row < ids.length; row++) {
      float largest = 0;
      for (float logit : whole[row]) {
        largest = Math.max(largest, Math.abs(logit));
      }
      for (int id = 0; id < VOCABULARY; id++) {
        assertThat(groups[row][id]).isCloseTo(whole[row][id], within(0.05f * largest));
      }
    }
  }

  private static float[][] logits(ModelFolder files, MatrixQuantization quantization, int... ids) {
    try (StoredDecoder model = stored(files, quantization);
        KernelRunner runner = new KernelRunner(model, Vocabulary.of(VOCABULARY), 4, 2)) {
      ForwardBatch rows = new ForwardBatch();
      rows.begin(new int[] {0, 1});
      for (int i = 0; i < ids.length; i++) {
        rows.add(runner.allocateSlot(), i);
      }
      runner.embed(rows, ids);
      Head head = model.allHeads().getLast();
      runner.run(0, head.tap(), rows);
      int[] asked = IntStream.range(0, ids.length).toArray();
      HeadOutput output = runner.predict(head, rows, asked, ids.length);
      float[][] logits = new float[ids.length][];
      for (int row = 0; row < ids.length; row++) {
        logits[row] = output.logits(row).clone();
        runner.release(rows.slot(row));
      }
      return logits;
    }
  }

  /** Logits of a text's first token, which attends to itself alone, at an angle of 0. */
  private double[] expected(int id) {
    double[] x = new double[HIDDEN];
    float[] embedding = Objects.requireNonNull(matrices.get("token_embd"));
    Arrays.setAll(x, i -> embedding[id * HIDDEN + i]);
    double[] values = product("blk.0.attn_v", normalized(x));
    double[] attended = new double[HIDDEN];
    Arrays.setAll(attended, i -> values[i / WIDTH / 2 * WIDTH + i % WIDTH]); // two heads share one
    add(x, product("blk.0.attn_output", attended));
    double[] inner = normalized(x);
    double[] gate = product("blk.0.ffn_gate", inner);
    double[] up = product("blk.0.ffn_up", inner);
    Arrays.setAll(gate, i -> gate[i] / (1 + Math.exp(-gate[i])) * up[i]);
    add(x, product("blk.0.ffn_down", gate));
    return product("token_embd", normalized(x));
  }

  private static void add(double[] x, double[] y) {
    Arrays.setAll(x, i -> x[i] + y[i]);
  }

  private double[] normalized(double[] x) {
    double squares = Arrays.stream(x).map(value -> value * value).sum();
    double factor = norm / Math.sqrt(squares / x.length + 1e-6);
    return Arrays.stream(x).map(value -> value * factor).toArray();
  }

  /** With x rounded to 8 bits in groups of 32, as docs/quantize.md says. */
  private double[] product(String name, double[] x) {
    double[] rounded = new double[x.length];
    for (int first = 0; first < x.length; first += 32) {
      double most = 0;
      for (int i = first; i < first + 32; i++) {
        most = Math.max(most, Math.abs(x[i]));
      }
      for (int i = first; i < first + 32; i++) {
        rounded[i] = Math.rint(x[i] * 127 / most) * most / 127;
      }
    }
    float[] matrix = Objects.requireNonNull(matrices.get(name));
    double[] y = new double[matrix.length / x.length];
    for (int o = 0; o < y.length; o++) {
      for (int i = 0; i < x.length; i++) {
        y[o] += rounded[i] * matrix[o * x.length + i];
      }
    }
    return y;
  }
}
