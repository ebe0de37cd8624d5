package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.decode.engine.RunnerText.VOCABULARY;
import static org.eellm.decode.engine.RunnerText.assertClose;
import static org.eellm.decode.engine.RunnerText.runner;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.assertj.core.api.Assertions;
import org.assertj.core.data.Offset;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.decode.engine.cpu.KernelProperties;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.head.HeadOutput;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Our kernels beside libtorch's operations, on every family; and rows beside other rows. */
@Tag("vectors")
final class KernelRunnerTest {

  @ParameterizedTest
  @EnumSource
  void logits_inFloat32_areLibtorchs(RunnerFamily family) {
    try (Decoder model = family.decoder(DataType.FLOAT32);
        KernelRunner ours = runner(model, 2);
        TorchRunner theirs = RunnerText.torch(model)) {
      RunnerText a = new RunnerText(ours, 1, 60, 7, 2, 9, 0);
      RunnerText b = new RunnerText(theirs, 1, 60, 0, 1, 2, 3);
      for (int count : new int[] {1, 20, 2, 1, 17, 5}) {
        assertClose(a.next(count), b.next(count), 2e-4f);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(mode = EnumSource.Mode.EXCLUDE, names = "NEO_X") // whose erf is no loop
  void logits_inFloat32_areThoseOfLoopsInFloat64(RunnerFamily family) {
    try (Decoder model = family.decoder(DataType.FLOAT32);
        KernelRunner runner = runner(model, 2)) {
      RunnerText text = new RunnerText(runner, 1, 80, 7, 2, 9, 0, 4);
      double[][][] expected = new LoopModel(model).logits(model, text.ids());
      int at = 0;
      for (int count : new int[] {1, 37, 2, 1, 17, 22}) {
        int from = at;
        at += count;
        float[][][] exact =
            Arrays.stream(expected)
                .map(head -> floats(head, from, count))
                .toArray(float[][][]::new);
        assertClose(text.next(count), exact, 1e-4f);
      }
    }
  }

  private static float[][] floats(double[][] rows, int from, int count) {
    float[][] some = new float[count][VOCABULARY];
    for (int row = 0; row < count; row++) {
      for (int id = 0; id < VOCABULARY; id++) {
        some[row][id] = (float) rows[from + row][id];
      }
    }
    return some;
  }

  @ParameterizedTest
  @EnumSource
  void logits_inBfloat16_areFloat32sWithinItsPrecision(RunnerFamily family) {
    try (Decoder half = family.decoder(DataType.BFLOAT16);
        Decoder whole = family.decoder(DataType.FLOAT32)) {
      for (var parameter : whole.parameters().all()) {
        parameter.value().copy_(half.parameters().get(parameter.name()).value());
      }
      try (KernelRunner ours = runner(half, 2);
          KernelRunner exact = runner(whole, 2)) {
        RunnerText a = new RunnerText(ours, 1, 60, 0, 1, 2, 3);
        RunnerText b = new RunnerText(exact, 1, 60, 0, 1, 2, 3);
        for (int count : new int[] {20, 1, 3}) {
          assertClose(a.next(count), b.next(count), 0.05f);
        }
      }
    }
  }

  static Stream<Arguments> formats() {
    return Stream.of(DataType.values())
        .flatMap(
            type ->
                Stream.of(
                        RunnerFamily.LLAMA,
                        RunnerFamily.NEO_X,
                        RunnerFamily.BLOCKS,
                        RunnerFamily.GEMMA,
                        RunnerFamily.OLMO,
                        RunnerFamily.QWEN_3_MOE,
                        RunnerFamily.OLMOE)
                    .map(family -> Arguments.of(family, type)));
  }

  @ParameterizedTest
  @MethodSource("formats")
  void logits_ofRowsInBlocksAndBatches_equalSingleRowsToTheBit(RunnerFamily family, DataType type) {
    try (Decoder model = family.decoder(type);
        KernelRunner runner = runner(model, 2)) {
      RunnerText alone = new RunnerText(runner, 1, 66, 0, 1, 2, 3, 4);
      float[][][][] expected = new float[66][][][];
      Arrays.setAll(expected, i -> alone.next(1));
      RunnerText blocks = new RunnerText(runner, 1, 66, 5, 6, 7, 8, 9);
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
      RunnerText first = new RunnerText(runner, 1, 66, 10, 11, 12, 13, 14);
      RunnerText other = new RunnerText(runner, 2, 66, 23, 22, 21, 20, 19);
      for (int row = 0; row < 66; row += 3) {
        float[][][] batch = RunnerText.next(List.of(other, first), 3).getLast();
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
  void logits_ofAnyThreads_areEqualToTheBit(RunnerFamily family) {
    try (Decoder model = family.decoder(DataType.BFLOAT16);
        KernelRunner two = runner(model, 2);
        KernelRunner three = runner(model, 3);
        KernelRunner single = runner(model, 1)) {
      RunnerText a = new RunnerText(two, 1, 40, 0, 1, 2);
      RunnerText b = new RunnerText(three, 1, 40, 3, 1, 2);
      RunnerText c = new RunnerText(single, 1, 40, 0, 5, 2);
      for (int count : new int[] {1, 30, 4}) {
        float[][][] expected = a.next(count);
        assertThat(b.next(count)).isDeepEqualTo(expected);
        assertThat(c.next(count)).isDeepEqualTo(expected);
      }
    }
  }

  @ParameterizedTest
  @EnumSource
  void propagate_anyFamily_writesTheKeysAndValuesThatLibtorchWrites(RunnerFamily family) {
    try (Decoder model = family.decoder(DataType.FLOAT32);
        KernelRunner ours = runner(model, 2);
        TorchRunner theirs = RunnerText.torch(model)) {
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
        all.add(KeysAndValues.read(runner, layer, row < 3 ? 0 : 1, row < 3 ? row : row - 3));
      }
    }
    return all.toArray(float[][]::new);
  }

  @Test
  void copyPage_ofTwoLayers_copiesBothAndNothingElse() {
    try (Decoder model = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
        KernelRunner runner = runner(model, 2)) {
      int from = runner.pages() - 2;
      int to = runner.pages() - 1;
      ForwardBatch rows = new ForwardBatch();
      rows.begin(new int[] {from});
      rows.add(runner.allocateSlot(), 0);
      runner.embed(rows, new int[] {7});
      runner.run(0, 4, rows); // attention and MLP of two layers

      runner.copyPage(from, to);

      assertThat(KeysAndValues.read(runner, 0, to, 0))
          .isEqualTo(KeysAndValues.read(runner, 0, from, 0));
      assertThat(KeysAndValues.read(runner, 1, to, 0))
          .isEqualTo(KeysAndValues.read(runner, 1, from, 0));
      assertThat(KeysAndValues.read(runner, 1, to, 0))
          .isNotEqualTo(KeysAndValues.read(runner, 0, to, 0));
      assertThat(KeysAndValues.read(runner, 1, 0, 0)).containsOnly(0f);
      assertThat(KeysAndValues.read(runner, 2, 0, 0)).containsOnly(0f);
    }
  }

  @Test
  void figures_ofOutputs_areThoseOfTheLogits() {
    try (Decoder model = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
        KernelRunner runner = runner(model, 2)) {
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

  private static Offset<Double> within() {
    return Assertions.within(1e-5);
  }

  @Test
  void check_unknownOrder_namesTheKnownOnes() {
    String before = System.setProperty(SumOrder.PROPERTY, "quick");
    try {
      assertThatThrownBy(KernelProperties::check)
          .isInstanceOf(ConfigException.class)
          .hasMessage(
              "-Deellm.kernel.order: 'quick' is no order of kernels; use one of chain, tiles in"
                  + " EELLM_JAVA_OPTS");
    } finally {
      System.clearProperty(SumOrder.PROPERTY);
      Optional.ofNullable(before).ifPresent(was -> System.setProperty(SumOrder.PROPERTY, was));
    }
  }
}
