package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.checkpoint.Mapped;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/**
 * Damages files of models of six layouts at random, from a fixed seed: reading them ends in a model
 * or in one line, and without a crash.
 */
@Timeout(600) // none is read without end
final class ModelFuzzTest {
  /** Of each model; {@code -Dmutations=10000} takes some minutes. */
  private static final int TIMES = Integer.getInteger("mutations", 100);

  @TempDir private Path folder;

  static final List<String> MODELS =
      List.of(
          "golden/llama_mlp_norm",
          "exported/llama_mlp_norm",
          "layouts/gpt2",
          "layouts/gpt_neox",
          "families/gemma3",
          "families/phi4_mini",
          "families/smollm3",
          "layouts/megatron_tp2_pp2",
          "families/qwen3_moe_mixed",
          "layouts/megatron_tp1_pp2");

  @ParameterizedTest
  @FieldSource("MODELS")
  void open_damagedFiles_endsInAModelOrOneLine(String name) throws IOException {
    Path model = folder.resolve("model");
    String kind = name.substring(0, name.indexOf('/'));
    String what = name.substring(kind.length() + 1);
    switch (kind) {
      case "golden" -> ModelReaderTest.copy(GoldenCase.named(what).folder(), model);
      case "families" -> ModelReaderTest.copy(FamiliesTest.theirs(what), model);
      case "layouts" -> ModelReaderTest.copy(Layouts.folder(what), model);
      default -> { // exits in files beside the trunk's
        try (SourceModel source = ModelReader.open(GoldenCase.named(what).folder())) {
          ModelWriter.writeHuggingFace(source, model, Options.asItIs(), (done, total) -> {});
        }
      }
    }
    List<Path> files;
    try (Stream<Path> all = Files.walk(model)) {
      files =
          all.filter(Files::isRegularFile)
              .filter(file -> !file.getFileName().toString().matches("expected.*|inputs.*"))
              .sorted()
              .toList();
    }
    Mutations mutations = new Mutations(20260701);
    int refused = 0;
    for (int time = 0; time < TIMES; time++) {
      Path file = files.get(mutations.below(files.size()));
      byte[] whole = Files.readAllBytes(file);
      Files.write(file, mutations.damaged(whole));
      refused += open(model) ? 0 : 1;
      Files.write(file, whole);
    }
    Mapped.assertNothingOf(model);
    assertThat(refused).isGreaterThan(20);
    assertThatCode(() -> ModelReader.open(model).close()).doesNotThrowAnyException();
  }

  /** Whether a model is read rather than refused. */
  private static boolean open(Path model) {
    try (SourceModel source = ModelReader.open(model)) {
      Inspection.of(source);
      source.tensors().getFirst().notFinite();
      source.tensors().getLast().notFinite();
      return true;
    } catch (CheckpointException refused) {
      assertThat(refused.getMessage()).isNotBlank().doesNotContain("\n").hasSizeLessThan(2000);
      return false;
    }
  }
}
