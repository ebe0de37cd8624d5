package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.eellm.checkpoint.HuggingFaceFamily;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.golden.GoldenCase;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The same damage done to every file of weights of every layout: each is refused in one line. */
final class HostileFilesTest {
  private static final String CALLS = "tensors_call.bin";

  @TempDir private Path folder;

  /** How models lie in files. */
  private enum Layout {
    SAFETENSORS,
    SAFETENSORS_SHARDS,
    SAFETENSORS_EXITS_BESIDE,
    PYTORCH,
    PYTORCH_SHARDS,
    MEGATRON;

    boolean pickled() {
      return ordinal() >= PYTORCH.ordinal();
    }

    void write(Path target) throws IOException {
      switch (this) {
        case SAFETENSORS ->
            ModelReaderTest.copy(GoldenCase.named("llama_norm_tied").folder(), target);
        case SAFETENSORS_SHARDS -> HuggingFaceFamily.LLAMA_2.write(target, SafetensorsType.F32, 3);
        case SAFETENSORS_EXITS_BESIDE -> {
          try (SourceModel model = ModelReader.open(GoldenCase.named("llama_mlp_norm").folder())) {
            ModelWriter.writeHuggingFace(model, target, Options.asItIs(), (done, total) -> {});
          }
        }
        case PYTORCH -> ModelReaderTest.copy(Layouts.folder("gpt2"), target);
        case PYTORCH_SHARDS -> pytorchShards(target);
        case MEGATRON -> ModelReaderTest.copy(Layouts.folder("megatron_tp2_pp2"), target);
      }
    }

    private static void pytorchShards(Path target) throws IOException {
      ModelReaderTest.copy(GoldenCase.named("llama_norm_tied").folder(), target);
      ObjectNode index = new JsonMapper().createObjectNode();
      ObjectNode map = index.putObject("weight_map");
      try (WeightFiles weights = WeightFiles.open(target)) {
        List<String> names = List.copyOf(weights.tensors().keySet());
        for (int shard = 1; shard <= 2; shard++) {
          String file = "pytorch_model-%05d-of-00002.bin".formatted(shard);
          int half = names.size() / 2;
          Map<String, StoredTensor> own = new LinkedHashMap<>();
          for (String name :
              shard == 1 ? names.subList(0, half) : names.subList(half, names.size())) {
            own.put(name, weights.tensor(name));
            map.put(name, file);
          }
          PickleWriter.save(target.resolve(file), own);
        }
      }
      Files.delete(target.resolve("model.safetensors"));
      Files.writeString(target.resolve(PyTorchWeights.INDEX), index.toString());
    }
  }

  /** Something done to a file. */
  private enum Damage {
    EMPTY(""),
    CUT_IN_HALF(""),
    ONE_BYTE_SHORT(""),
    A_TEXT(""),
    GONE(""),
    A_FOLDER(""),
    A_PIPE(""),
    A_LINK_OUT_OF_THE_FOLDER("outside"),
    A_LINK_TO_ITSELF(""),
    A_PICKLE_THAT_CALLS("");

    private final String message;

    Damage(String message) {
      this.message = message;
    }

    void to(Path file, Path elsewhere) throws IOException {
      byte[] whole = Files.readAllBytes(file);
      switch (this) {
        case EMPTY -> Files.write(file, new byte[0]);
        case CUT_IN_HALF -> Files.write(file, Arrays.copyOf(whole, whole.length / 2));
        case ONE_BYTE_SHORT -> Files.write(file, Arrays.copyOf(whole, whole.length - 1));
        case A_TEXT -> Files.writeString(file, "<html>404: not found</html>");
        case GONE -> Files.delete(file);
        case A_FOLDER -> {
          Files.delete(file);
          Files.createDirectory(file);
        }
        case A_PIPE -> {
          Files.delete(file);
          mkfifo(file);
        }
        case A_LINK_OUT_OF_THE_FOLDER -> {
          Files.write(elsewhere, whole);
          Files.delete(file);
          Files.createSymbolicLink(file, elsewhere);
        }
        case A_LINK_TO_ITSELF -> {
          Files.delete(file);
          Files.createSymbolicLink(file, file.getFileName());
        }
        case A_PICKLE_THAT_CALLS -> Files.write(file, Files.readAllBytes(Layouts.folder(CALLS)));
      }
    }
  }

  private static void mkfifo(Path file) throws IOException {
    try {
      assertThat(new ProcessBuilder("mkfifo", file.toString()).start().waitFor()).isZero();
    } catch (InterruptedException e) {
      throw new IOException(e);
    }
  }

  @ParameterizedTest
  @EnumSource
  void damagedFile_isRefusedInOneLine(Layout layout) throws IOException {
    Path model = folder.resolve("model");
    layout.write(model);
    ModelReader.open(model).close();
    for (Path file : weights(model)) {
      byte[] whole = Files.readAllBytes(file);
      for (Damage damage : Damage.values()) {
        damage.to(file, folder.resolve("elsewhere"));

        String what = "%s of %s".formatted(damage, folder.relativize(file));
        assertThatThrownBy(() -> ModelReader.open(model).close())
            .as(what)
            .isInstanceOf(CheckpointException.class)
            .hasMessageContaining(damage.message)
            .message()
            .as(what)
            .startsWith(model.toString())
            .doesNotContain("\n")
            .hasSizeLessThan(600);
        if (damage == Damage.A_PICKLE_THAT_CALLS && layout.pickled()) {
          assertThatThrownBy(() -> ModelReader.open(model).close())
              .hasMessageContaining("refers to posix.system")
              .hasMessageContaining("nothing was executed");
          assertThat(Path.of("executed")).doesNotExist();
        }
        Files.deleteIfExists(file);
        Files.write(file, whole);
      }
    }
    ModelReader.open(model).close();
  }

  private static List<Path> weights(Path model) throws IOException {
    try (Stream<Path> files = Files.walk(model)) {
      return files
          .filter(file -> file.toString().matches(".*\\.(safetensors|bin|pt)"))
          .filter(file -> !file.getFileName().toString().matches("(expected|inputs)\\..*"))
          .sorted()
          .toList();
    }
  }

  /** A tensor that says it has more values than its storage, and one of another shape. */
  @ParameterizedTest
  @CsvSource({
    "4096, 64, reaches beyond its storage",
    "128, 64, 'has shape [128, 64], but [256, 64] follows'",
  })
  void pickledTensorOfAnotherSize_isRefused(long rows, long width, String message)
      throws IOException {
    Path model = folder.resolve("model");
    Layout.PYTORCH_SHARDS.write(model);
    Path first = model.resolve("pytorch_model-00001-of-00002.bin");
    Path other = folder.resolve("other/changed.bin");
    try (PyTorchWeights weights = PyTorchWeights.open(model)) {
      Map<String, StoredTensor> own = new LinkedHashMap<>(weights.tensors());
      StoredTensor embedding =
          Objects.requireNonNull(weights.tensors().get("model.embed_tokens.weight"));
      own.keySet().retainAll(names(first));
      own.put(
          "model.embed_tokens.weight",
          new StoredTensor(SafetensorsType.F32, List.of(rows, width), embedding.bytes()));
      PickleWriter.save(other, own);
    }
    Files.delete(first);
    Files.move(other, first);
    assertThatThrownBy(() -> ModelReader.open(model).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .message()
        .doesNotContain("\n");
  }

  private static List<String> names(Path file) {
    try (PyTorchFile opened = PyTorchFile.open(file)) {
      List<String> names = new ArrayList<>();
      ((Pickled.Dict) opened.root())
          .entries()
          .keySet()
          .forEach(key -> names.add(((Pickled.Text) key).value()));
      return names;
    }
  }

  /** Values that are no numbers are no reason to refuse a model, but are told of. */
  @Test
  void notANumber_inAnyLayout_isCounted() throws IOException {
    Path whole = folder.resolve("whole");
    ModelReaderTest.copy(GoldenCase.named("llama_embedding").folder(), whole);
    byte[] bytes = Files.readAllBytes(whole.resolve("model.safetensors"));
    ByteBuffer.wrap(bytes)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putFloat(bytes.length - 4, Float.NaN)
        .putFloat(bytes.length - 8, Float.NEGATIVE_INFINITY);
    Files.write(whole.resolve("model.safetensors"), bytes);
    Path megatron = folder.resolve("megatron");
    Path pytorch = folder.resolve("pytorch");
    ModelReaderTest.copy(whole, pytorch);
    try (SourceModel model = ModelReader.open(whole);
        WeightFiles weights = WeightFiles.open(whole)) {
      MegatronWriter.write(model, 2, 2, false, megatron);
      PickleWriter.save(
          pytorch.resolve("pytorch_model.bin"), new LinkedHashMap<>(weights.tensors()));
    }
    Files.delete(pytorch.resolve("model.safetensors"));

    for (Path layout : List.of(whole, pytorch, megatron)) {
      try (SourceModel model = ModelReader.open(layout)) {
        assertThat(model.tensors().stream().mapToLong(ModelTensor::notFinite).sum())
            .as(layout.toString())
            .isEqualTo(2);
      }
    }
  }

  /** Weights that end in the middle of memory they claim. */
  @Test
  void storageBeyondItsEntry_isRefused() throws IOException {
    Path file = folder.resolve("file/short.bin");
    StoredTensor tensor =
        new StoredTensor(SafetensorsType.F32, List.of(1000L), MemorySegment.ofArray(new byte[16]));
    PickleWriter.save(file, Map.of("a", tensor));
    assertThatThrownBy(() -> PyTorchFile.open(file).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("beyond its storage")
        .message()
        .doesNotContain("\n");
  }
}
