package org.eellm.decode.engine;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.decode.engine.RunnerText.assertClose;
import static org.eellm.decode.engine.RunnerText.runner;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.stream.IntStream;
import org.eellm.SavedModel;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.ModelWeights;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.config.Architecture;
import org.eellm.config.DataType;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.model.Decoder;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Our kernels on models that are read from files: packed, shared by runners, rounded. */
final class StoredModelRunnerTest {
  @TempDir private Path folder;

  @ParameterizedTest
  @EnumSource
  void pack_filesOfAnyFamily_sharesWhatIsPackedAndDecodesAsTheModelInMemory(RunnerFamily family)
      throws IOException {
    try (Decoder model = family.decoder(DataType.BFLOAT16)) {
      float[][][] expected;
      try (KernelRunner own = runner(model, 2)) {
        expected = new RunnerText(own, 1, 20, 0, 1).next(20);
      }
      try (StoredDecoder stored = stored(model, MatrixQuantization.NONE)) {
        KernelRunner.pack(stored);

        for (int i = 0; i < 2; i++) { // runners share what is packed, and leave it to the next
          try (KernelRunner shared = runner(stored, 2)) {
            assertThat(new RunnerText(shared, 1, 20, 2, 3).next(20)).isDeepEqualTo(expected);
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
    try (Decoder model = RunnerFamily.LLAMA_ODD_WIDTHS.decoder(other);
        Decoder read =
            Decoder.allocate(RunnerFamily.LLAMA_ODD_WIDTHS.architecture(type), Torch.cpu())) {
      try (StoredDecoder stored = stored(model, read.architecture(), MatrixQuantization.NONE);
          KernelRunner ours = runner(stored, 2)) {
        ModelWeights.load(folder, read);
        try (KernelRunner theirs = runner(read, 2)) {
          assertThat(new RunnerText(ours, 1, 20, 0, 1).next(20))
              .isDeepEqualTo(new RunnerText(theirs, 1, 20, 0, 1).next(20));
        }
      }
    }
  }

  @ParameterizedTest
  @CsvSource({"INT8, INT8, 0.15", "INT4, INT4, 1.5", "INT4, NONE, 1.5", "NONE, INT8, 0.03"})
  void logits_ofQuantizedMatrices_areNearThoseOfWholeOnes(
      Quantization layers, Quantization heads, float tolerance) throws IOException {
    MatrixQuantization quantization = new MatrixQuantization(layers, heads);
    try (Decoder model = RunnerFamily.LLAMA_ODD_WIDTHS.decoder(DataType.FLOAT32);
        StoredDecoder stored = stored(model, quantization);
        KernelRunner ours = runner(stored, 2);
        KernelRunner whole = runner(model, 2)) {
      RunnerText a = new RunnerText(ours, 1, 40, 0, 1, 2);
      RunnerText b = new RunnerText(whole, 1, 40, 0, 1, 2);
      for (int count : new int[] {20, 1, 3}) {
        assertClose(a.next(count), b.next(count), tolerance);
      }
    }
  }

  @ParameterizedTest
  @EnumSource(names = {"LLAMA_ODD_WIDTHS", "GPT_2"})
  void logits_ofKeysAndValuesInEightBits_areNearThoseOfWholeOnesAndOfAnyBatch(RunnerFamily family)
      throws IOException {
    MatrixQuantization eight = MatrixQuantization.NONE.withCache(Quantization.INT8);
    try (Decoder model = family.decoder(DataType.FLOAT32);
        StoredDecoder stored = stored(model, eight);
        KernelRunner ours = runner(stored, 2);
        KernelRunner whole = runner(model, 2)) {
      RunnerText a = new RunnerText(ours, 1, 40, 0, 1, 2);
      RunnerText b = new RunnerText(whole, 1, 40, 0, 1, 2);
      RunnerText alone = new RunnerText(ours, 1, 40, 3, 4, 5);
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
  void logits_ofQuantizedRowsInBlocksAndBatches_equalSingleRowsToTheBit(Quantization quantization)
      throws IOException {
    MatrixQuantization all = new MatrixQuantization(quantization, quantization);
    try (Decoder model = RunnerFamily.LLAMA_ODD_WIDTHS.decoder(DataType.BFLOAT16);
        StoredDecoder stored = stored(model, all);
        KernelRunner runner = runner(stored, 2)) {
      RunnerText alone = new RunnerText(runner, 1, 60, 0, 1, 2, 3);
      float[][][][] expected = new float[60][][][];
      Arrays.setAll(expected, i -> alone.next(1));
      List<RunnerText> texts =
          IntStream.range(0, 8)
              .mapToObj(i -> new RunnerText(runner, i == 5 ? 1 : 10 + i, 60, pages(4 + 4 * i)))
              .toList();
      for (int at = 0, count = 1; at < 60; at += count, count = Math.min(count + 1, 60 - at)) {
        float[][][] batch = RunnerText.next(texts, count).get(5);
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
    Architecture architecture = RunnerFamily.LLAMA.architecture(DataType.FLOAT32);
    try (Decoder model = Decoder.allocate(architecture, Quantization.INT8, Torch.cpu())) {
      assertThatThrownBy(() -> runner(model, 1)).hasMessageContaining("has been quantized");
    }
  }

  @Test
  void stored_lens_readsTheFinalHeadAfterEveryLayer() throws IOException {
    try (Decoder model = RunnerFamily.LLAMA.decoder(DataType.FLOAT32)) {
      try (StoredDecoder lens =
              new ModelFolder(saved(model), Optional.empty())
                  .stored(StoredDecoder.Part.logitLens(model.architecture()));
          Decoder read = Decoder.logitLens(model.architecture(), Torch.cpu());
          KernelRunner ours = runner(lens, 2)) {
        ModelFolder files = new ModelFolder(folder, Optional.empty());
        files.load(read);
        try (KernelRunner theirs = runner(read, 2)) {
          float[][][] logits = new RunnerText(ours, 1, 20, 0, 1).next(20);
          assertThat(logits.length).isEqualTo(4);
          assertThat(logits).isDeepEqualTo(new RunnerText(theirs, 1, 20, 0, 1).next(20));
        }
      }
    }
  }

  private Path saved(Decoder model) throws IOException {
    new HuggingFaceConfig(model.architecture(), OptionalInt.empty(), List.of()).write(folder);
    SavedModel.writeWeights(folder, model);
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
}
