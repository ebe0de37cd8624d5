package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.eellm.SavedModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.StageLayout.Slice;
import org.eellm.decode.SmallModel;
import org.eellm.model.Adapter;
import org.eellm.model.Decoder;
import org.eellm.model.StoredDecoder;
import org.eellm.model.StoredDecoder.Part;
import org.eellm.model.TensorParallel;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Adapters beside a model. */
final class ModelFolderTest {
  private static final String QUERIES = "model.layers.2.self_attn.q_proj";

  @TempDir private Path folder;
  private ModelFolder model;
  private Part whole;

  @BeforeEach
  void save() throws IOException {
    try (Decoder decoder = SmallModel.plain()) {
      SavedModel.write(folder.resolve("model"), decoder);
      whole = Part.whole(decoder.architecture(), MatrixQuantization.NONE);
    }
    model = ModelFolder.resolve(folder.resolve("model"));
  }

  /** An adapter of rank 2 that changes nothing, as it begins. */
  private Path adapter(String module, long in, long out) throws IOException {
    Path path = Files.createDirectories(folder.resolve(module));
    Files.writeString(
        path.resolve("adapter_config.json"),
        "{\"peft_type\": \"LORA\", \"r\": 2, \"lora_alpha\": 4, \"target_modules\": [\"x\"]}");
    try (Arena arena = Arena.ofConfined()) {
      SafetensorsWriter.write(
          path.resolve("adapter_model.safetensors"),
          Map.of("format", "pt"),
          List.of(
              factor(arena, module + ".lora_A", 2, in), factor(arena, module + ".lora_B", out, 2)));
    }
    return path;
  }

  private static TensorSource factor(Arena arena, String name, long rows, long columns) {
    return TensorSource.of(
        "base_model.model.%s.weight".formatted(name),
        SafetensorsType.F32,
        List.of(rows, columns),
        arena.allocate(4 * rows * columns, 8));
  }

  @Test
  void stored_withNames_hasAdaptersInTheirOrder() throws IOException {
    Path queries = adapter(QUERIES, 32, 32);
    ModelFolder files = model.withAdapter("z", queries).withAdapter("a", queries);

    try (StoredDecoder stored = files.stored(whole)) {
      assertThat(stored.adapters()).extracting(Adapter::name).containsExactly("z", "a");
      assertThat(stored.adapters().getFirst().changes()).containsOnlyKeys(QUERIES + ".weight");
    }
  }

  @Test
  void stored_adapterOfAnOutputMatrix_isRefusedBesideTheModelAlone() throws IOException {
    Path output = adapter("lm_head", 32, SmallModel.VOCABULARY);

    model.withAdapter(output).stored(whole).close();
    assertThatThrownBy(() -> model.withAdapter("a", output).stored(whole))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            output
                + ": changes lm_head.weight, but beside a model adapters change attention and MLPs"
                + " alone; merge it, with eellm convert --adapter");
  }

  @Test
  void stored_adapterOfAnotherModel_isRefused() throws IOException {
    Path other = adapter(QUERIES, 64, 64);

    assertThatThrownBy(() -> model.withAdapter("a", other).stored(whole))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("give the model that the adapter was made for");
  }

  @Test
  void stored_partOfAModel_isRefused() throws IOException {
    ModelFolder files = model.withAdapter("a", adapter(QUERIES, 32, 32));
    Part part =
        new Part(
            whole.architecture(),
            List.of(new Slice(0, 2, List.of(1, 2), true, false)),
            TensorParallel.singleRank(),
            MatrixQuantization.NONE,
            false);

    assertThatThrownBy(() -> files.stored(part))
        .isInstanceOf(CheckpointException.class)
        .hasMessageEndingWith(
            "adapters a stay beside a model that one rank has on its CPU; leave out --tp, --pp and"
                + " --device, or merge one of them");
  }
}
