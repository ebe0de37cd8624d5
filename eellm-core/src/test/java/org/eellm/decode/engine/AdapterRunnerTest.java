package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.decode.engine.RunnerText.assertClose;
import static org.eellm.decode.engine.RunnerText.runner;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.Adapter;
import org.eellm.model.Decoder;
import org.eellm.model.RandomAdapter;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Low-rank changes that stay beside a model's matrices. */
final class AdapterRunnerTest {
  private static final int LENGTH = 40;
  private static final int[] COUNTS = {20, 1, 3, 12};

  /** One of every map, and one of a few, as PEFT's default is. */
  private static List<Adapter> adapters(Decoder model) {
    return List.of(
        RandomAdapter.of(model, "all", 1, _ -> true),
        RandomAdapter.of(model, "few", 2, name -> name.matches(".+\\.[qv]_proj\\.weight")));
  }

  private static int[] pages(int first) {
    return IntStream.range(4 * first, 4 * first + 4).toArray();
  }

  @ParameterizedTest
  @EnumSource
  void logits_inFloat32_areThoseOfChangedMatrices(RunnerFamily family) {
    for (int number = 0; number <= 2; number++) {
      Decoder own = family.decoder(DataType.FLOAT32);
      List<Adapter> adapters = adapters(own);
      try (Decoder merged = family.decoder(DataType.FLOAT32);
          StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.NONE, adapters)) {
        if (number > 0) {
          RandomAdapter.merge(merged, adapters.get(number - 1));
        }
        try (KernelRunner applied = runner(beside, 2);
            KernelRunner expected = runner(merged, 2)) {
          RunnerText a = new RunnerText(applied, 1, LENGTH, pages(0)).with(number);
          RunnerText b = new RunnerText(expected, 1, LENGTH, pages(1));
          for (int count : COUNTS) {
            assertClose(a.next(count), b.next(count), 1e-5f);
          }
        }
      }
    }
  }

  static Stream<Arguments> formats() {
    return Stream.of(DataType.values())
        .flatMap(
            type -> Stream.of(Quantization.values()).map(matrices -> Arguments.of(type, matrices)));
  }

  @ParameterizedTest
  @MethodSource("formats")
  void logits_ofTextsOfSeveralAdaptersInABlock_equalSingleRowsToTheBit(
      DataType type, Quantization matrices) {
    for (RunnerFamily family : List.of(RunnerFamily.LLAMA_ODD_WIDTHS, RunnerFamily.BLOCKS)) {
      Decoder own = family.decoder(type);
      try (StoredDecoder model =
              StoredDecoder.of(own, MatrixQuantization.of(matrices), adapters(own));
          KernelRunner runner = runner(model, 2)) {
        List<RunnerText> together = new ArrayList<>();
        List<RunnerText> alone = new ArrayList<>();
        for (int text = 0; text < 4; text++) { // the first and the last have none
          int number = text % 3;
          together.add(new RunnerText(runner, text, LENGTH, pages(text)).with(number));
          alone.add(new RunnerText(runner, text, LENGTH, pages(4 + text)).with(number));
        }
        for (int count : COUNTS) {
          List<float[][][]> block = RunnerText.next(together, count);
          for (int text = 0; text < alone.size(); text++) {
            for (int row = 0; row < count; row++) {
              float[][][] single = alone.get(text).next(1);
              for (int head = 0; head < single.length; head++) {
                assertThat(block.get(text)[head][row])
                    .as("%s, text %d, row %d, head %d", family, text, row, head)
                    .containsExactly(single[head][0]);
              }
            }
          }
        }
      }
    }
  }

  @Test
  void logits_withoutAnAdapter_areThoseOfTheModelAloneToTheBit() {
    Decoder own = RunnerFamily.LLAMA.decoder(DataType.BFLOAT16);
    try (Decoder plain = RunnerFamily.LLAMA.decoder(DataType.BFLOAT16);
        StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.NONE, adapters(own));
        KernelRunner ours = runner(beside, 2);
        KernelRunner expected = runner(plain, 2)) {
      RunnerText a = new RunnerText(ours, 1, LENGTH, pages(0));
      RunnerText other = new RunnerText(ours, 2, LENGTH, pages(1)).with(1);
      RunnerText b = new RunnerText(expected, 1, LENGTH, pages(0));
      for (int count : COUNTS) {
        assertThat(RunnerText.next(List.of(other, a), count).getLast())
            .isDeepEqualTo(b.next(count));
      }
    }
  }

  /** Kept in float32 beside matrices of fewer bits, changes are not rounded with them. */
  @ParameterizedTest
  @EnumSource(names = {"INT8", "INT4"})
  void logits_ofQuantizedMatrices_areAsNearAsThoseOfTheModelItself(Quantization matrices) {
    Decoder own = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
    List<Adapter> adapters = adapters(own);
    try (Decoder merged = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
        StoredDecoder beside = StoredDecoder.of(own, MatrixQuantization.of(matrices), adapters)) {
      RandomAdapter.merge(merged, adapters.getFirst());
      try (KernelRunner ours = runner(beside, 2);
          KernelRunner exact = runner(merged, 2)) {
        float[][][] applied = new RunnerText(ours, 1, LENGTH, pages(0)).with(1).next(20);
        float[][][] expected = new RunnerText(exact, 1, LENGTH, pages(0)).next(20);
        assertClose(applied, expected, matrices == Quantization.INT8 ? 0.15f : 1.5f);
      }
    }
  }

  @Test
  void pass_withAdapters_allocatesNextToNothing() {
    Decoder own = RunnerFamily.LLAMA.decoder(DataType.FLOAT32);
    try (StoredDecoder model = StoredDecoder.of(own, MatrixQuantization.NONE, adapters(own))) {
      PassAllocationTest.assertAllocatesLittle(model, 1);
    }
  }
}
