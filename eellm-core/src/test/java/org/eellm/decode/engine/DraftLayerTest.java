package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.config.Quantization;
import org.eellm.decode.SmallModel;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.decode.head.Vocabulary;
import org.eellm.model.Decoder;
import org.eellm.model.DraftHead;
import org.eellm.model.Dropout;
import org.eellm.model.ForwardContext;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.tensor.kernel.KeyStarts;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A draft head's layer, beside the same in float64 and plain loops. */
final class DraftLayerTest {
  private static final int ROWS = 7;
  private static final int CHAIN = 2;

  /** A draft head in float64: one row after the other. */
  private static final class Plain {
    private final Decoder model;
    private final ModelConfig shape;
    private final List<double[]> keys = new ArrayList<>();
    private final List<double[]> values = new ArrayList<>();

    Plain(Decoder model) {
      this.model = model;
      shape = model.architecture().model();
    }

    private double[] times(String name, double[] x) {
      float[] w = model.rows(name).floats();
      double[] y = new double[w.length / x.length];
      for (int i = 0; i < w.length; i++) {
        y[i / x.length] += w[i] * x[i % x.length];
      }
      return y;
    }

    private double[] normed(String name, double[] x) {
      float[] w = model.rows(name + ".weight").floats();
      double squares = 0;
      for (double value : x) {
        squares += value * value / x.length;
      }
      double[] y = new double[x.length];
      for (int i = 0; i < x.length; i++) {
        y[i] = x[i] / Math.sqrt(squares + shape.normEpsilon()) * w[i];
      }
      return y;
    }

    private double[] rotated(double[] x, int at, int position) {
      int half = shape.headDim() / 2;
      double[] y = new double[2 * half];
      for (int i = 0; i < half; i++) {
        double angle = position * Math.pow(shape.ropeTheta(), -(double) i / half);
        double a = x[at + i];
        double b = x[at + half + i];
        y[i] = a * Math.cos(angle) - b * Math.sin(angle);
        y[half + i] = b * Math.cos(angle) + a * Math.sin(angle);
      }
      return y;
    }

    /** The head's state at a position; its earlier positions have been asked for before. */
    double[] state(double[] before, int id, int position) {
      int hidden = shape.hiddenSize();
      float[] table = model.rows("model.embed_tokens.weight").floats();
      double[] embedded = new double[hidden];
      for (int i = 0; i < hidden; i++) {
        embedded[i] = table[id * hidden + i];
      }
      double[] both = new double[2 * hidden];
      System.arraycopy(normed("draft_head.hidden_norm", before), 0, both, 0, hidden);
      System.arraycopy(normed("draft_head.embedding_norm", embedded), 0, both, hidden, hidden);
      double[] x = times("draft_head.projection.weight", both);
      double[] in = normed("draft_head.layer.input_layernorm", x);
      add(x, times("draft_head.layer.self_attn.o_proj.weight", attended(in, position)));
      double[] mlp = normed("draft_head.layer.post_attention_layernorm", x);
      double[] gate = times("draft_head.layer.mlp.gate_proj.weight", mlp);
      double[] up = times("draft_head.layer.mlp.up_proj.weight", mlp);
      for (int i = 0; i < up.length; i++) {
        up[i] *= gate[i] / (1 + Math.exp(-gate[i]));
      }
      add(x, times("draft_head.layer.mlp.down_proj.weight", up));
      return x;
    }

    private double[] attended(double[] in, int position) {
      int width = shape.headDim();
      int group = shape.numHeads() / shape.numKeyValueHeads();
      double[] query = times("draft_head.layer.self_attn.q_proj.weight", in);
      double[] key = times("draft_head.layer.self_attn.k_proj.weight", in);
      while (keys.size() > position) { // a draft that did not hold
        keys.removeLast();
        values.removeLast();
      }
      for (int head = 0; head < shape.numKeyValueHeads(); head++) {
        System.arraycopy(rotated(key, head * width, position), 0, key, head * width, width);
      }
      keys.add(key);
      values.add(times("draft_head.layer.self_attn.v_proj.weight", in));
      double[] out = new double[query.length];
      for (int head = 0; head < shape.numHeads(); head++) {
        double[] q = rotated(query, head * width, position);
        int from = head / group * width;
        double[] weights = new double[position + 1];
        double sum = 0;
        for (int p = 0; p <= position; p++) {
          for (int i = 0; i < width; i++) {
            weights[p] += q[i] * keys.get(p)[from + i] / Math.sqrt(width);
          }
          weights[p] = Math.exp(weights[p]);
          sum += weights[p];
        }
        for (int p = 0; p <= position; p++) {
          for (int i = 0; i < width; i++) {
            out[head * width + i] += weights[p] / sum * values.get(p)[from + i];
          }
        }
      }
      return out;
    }

    private static void add(double[] x, double[] more) {
      for (int i = 0; i < x.length; i++) {
        x[i] += more[i];
      }
    }

    double[] logits(double[] state) {
      return times("lm_head.weight", normed("draft_head.norm", state));
    }
  }

  private static double[] read(ModelRunner runner, int slot) {
    byte[] bytes = new byte[runner.hiddenBytes()];
    runner.read(slot, bytes, 0);
    ByteBuffer floats = ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder());
    double[] state = new double[bytes.length / Float.BYTES];
    for (int i = 0; i < state.length; i++) {
      state[i] = floats.getFloat(Float.BYTES * i);
    }
    return state;
  }

  private static void write(ModelRunner runner, int slot, double[] state) {
    ByteBuffer floats = ByteBuffer.allocate(runner.hiddenBytes()).order(ByteOrder.nativeOrder());
    for (double value : state) {
      floats.putFloat((float) value);
    }
    runner.write(slot, floats.array(), 0);
  }

  private static double[][] states(int hidden) {
    Random random = new Random(3);
    double[][] states = new double[ROWS][hidden];
    for (int row = 1; row < ROWS; row++) { // before the first there are zeros
      states[row] = random.ints(hidden, -2000, 2000).mapToDouble(i -> i / 1024.0).toArray();
    }
    return states;
  }

  /** Some positions in one block, then drafts one by one, and the first of these once more. */
  @ParameterizedTest
  @CsvSource({
    "FLOAT32, NONE, 2e-4",
    "BFLOAT16, NONE, 0.04",
    "FLOAT32, INT8, 0.06",
    "BFLOAT16, INT8, 0.08",
    "FLOAT32, INT4, 0.8",
    "BFLOAT16, INT4, 0.8"
  })
  void runDraftHead_blockAndChain_areThoseOfFloat64(
      DataType type, Quantization layers, double tolerance) {
    MatrixQuantization rounded =
        new MatrixQuantization(layers, Quantization.NONE, Quantization.NONE);
    try (Decoder model = SmallModel.withDraftHead(type);
        Decoder same = SmallModel.withDraftHead(type);
        StoredDecoder stored = StoredDecoder.of(same, rounded);
        KernelRunner runner =
            new KernelRunner(stored, Vocabulary.of(SmallModel.VOCABULARY), 4, 2)) {
      int hidden = model.architecture().model().hiddenSize();
      double[][] states = states(hidden);
      int[] ids = new Random(1).ints(ROWS + 1, 0, SmallModel.VOCABULARY).toArray();
      Plain plain = new Plain(model);
      ForwardBatch rows = new ForwardBatch();
      rows.begin(new int[] {2});
      double[] expected = {};
      for (int row = 0; row < ROWS; row++) {
        int slot = runner.allocateSlot();
        write(runner, slot, states[row]);
        rows.add(slot, row);
        expected = plain.state(states[row], ids[row], row);
      }
      runner.draftLayer().orElseThrow().run(rows, ids);
      int slot = rows.slot(ROWS - 1);
      assertAlike(runner, slot, expected, plain, tolerance);
      for (int draft = 0; draft <= CHAIN; draft++) {
        int position = ROWS + draft % CHAIN; // the last is in the place of the first
        expected = plain.state(read(runner, slot), ids[draft], position);
        rows.clear();
        rows.begin(new int[] {2});
        rows.add(slot, position);
        runner.draftLayer().orElseThrow().run(rows, new int[] {ids[draft]});
        assertAlike(runner, slot, expected, plain, tolerance);
      }
    }
  }

  private static void assertAlike(
      KernelRunner runner, int slot, double[] expected, Plain plain, double tolerance) {
    assertThat(read(runner, slot)).containsExactly(expected, within(tolerance));
    ForwardBatch rows = new ForwardBatch();
    rows.begin(new int[] {2});
    rows.add(slot, 0);
    Head head = runner.model().draftHead().orElseThrow();
    HeadOutput output = runner.predict(head, rows, new int[] {0}, 1);
    float[] logits = output.logits(0);
    double[] exact = plain.logits(expected);
    for (int id = 0; id < exact.length; id++) {
      assertThat((double) logits[id]).isCloseTo(exact[id], within(4 * tolerance));
    }
  }

  @Test
  void forward_sequences_isThatOfFloat64() {
    try (Decoder model = SmallModel.withDraftHead(DataType.FLOAT32);
        Scope _ = Scope.open();
        RetainedTensors retained = new RetainedTensors()) {
      DraftHead head = model.draftLayers().orElseThrow();
      int hidden = model.architecture().model().hiddenSize();
      double[][] before = states(hidden);
      float[] flat =
          new float[2 * ROWS * hidden]; // the same sequence twice, of states at positions
      for (int row = 0; row + 1 < ROWS; row++) {
        for (int i = 0; i < hidden; i++) {
          flat[row * hidden + i] = (float) before[row + 1][i];
          flat[(ROWS + row) * hidden + i] = (float) before[row + 1][i];
        }
      }
      int[] ids = new Random(1).ints(ROWS, 0, SmallModel.VOCABULARY).toArray();
      int[] twice = IntStream.range(0, 2 * ROWS).map(i -> ids[i % ROWS]).toArray();
      ForwardContext context =
          model.context(2, ROWS, KeyStarts.SEQUENCE, Dropout.NONE, false, retained);
      Tensor embedded =
          model.embedding().forward(Tensors.ofInts(twice, Torch.cpu(), 2 * ROWS), context);
      Tensor states = Tensors.ofFloats(flat, Torch.cpu(), 2 * ROWS, hidden);

      float[] top = Tensors.toFloats(head.forward(states, embedded, context, retained).top());

      Plain plain = new Plain(model);
      for (int row = 0; row < ROWS; row++) {
        double[] expected = plain.state(before[row], ids[row], row);
        for (int i = 0; i < hidden; i++) {
          assertThat((double) top[row * hidden + i]).isCloseTo(expected[i], within(2e-4));
          assertThat(top[(ROWS + row) * hidden + i])
              .isEqualTo(top[row * hidden + i], within(1e-5f));
        }
      }
    }
  }
}
