package org.eellm.convert;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.SequencedMap;
import org.eellm.checkpoint.WeightFiles;
import org.eellm.checkpoint.huggingface.ModelTensor;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.SafetensorsType;
import org.eellm.checkpoint.safetensors.SafetensorsWriter;
import org.eellm.checkpoint.safetensors.StoredTensor;
import org.eellm.checkpoint.safetensors.TensorSource;
import org.eellm.convert.ModelWriter.Options;
import org.eellm.tensor.Tensors;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Adapters that PEFT made for families whose files have several of our matrices in one. */
final class AdapterMergeTest {
  private static final int RANK = 2;
  private static final double ALPHA = 3;

  @TempDir private Path folder;

  /** Factors of a matrix. */
  private record Factors(float[][] in, float[][] out) {
    static Factors random(int rows, int columns, Random random) {
      return new Factors(matrix(RANK, columns, random), matrix(rows, RANK, random));
    }

    private static float[][] matrix(int rows, int columns, Random random) {
      float[][] matrix = new float[rows][columns];
      for (float[] row : matrix) {
        for (int i = 0; i < columns; i++) {
          row[i] = (float) random.nextGaussian();
        }
      }
      return matrix;
    }

    double change(int row, int column) {
      double sum = 0;
      for (int r = 0; r < RANK; r++) {
        sum += (double) out[row][r] * in[r][column];
      }
      return sum * ALPHA / RANK;
    }
  }

  private Path adapter(Map<String, Factors> all) throws IOException {
    Path adapter = Files.createTempDirectory(folder, "adapter");
    Files.writeString(
        adapter.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": %d, "lora_alpha": %s, "bias": "none", "fan_in_fan_out": true}
        """
            .formatted(RANK, ALPHA));
    List<TensorSource> tensors = new ArrayList<>();
    all.forEach(
        (module, factors) -> {
          tensors.add(tensor(module + ".lora_A.weight", factors.in));
          tensors.add(tensor(module + ".lora_B.weight", factors.out));
        });
    SafetensorsWriter.write(
        adapter.resolve("adapter_model.safetensors"), Map.of("format", "pt"), tensors);
    return adapter;
  }

  private static TensorSource tensor(String name, float[][] matrix) {
    int columns = matrix[0].length;
    MemorySegment bytes = Arena.global().allocate((long) matrix.length * columns * Float.BYTES, 4);
    for (int i = 0; i < matrix.length; i++) {
      MemorySegment.copy(
          matrix[i], 0, bytes, ValueLayout.JAVA_FLOAT, (long) i * columns * Float.BYTES, columns);
    }
    return TensorSource.of(
        "base_model.model." + name,
        SafetensorsType.F32,
        List.of((long) matrix.length, (long) columns),
        bytes);
  }

  private static Path source(String name) {
    return name.startsWith("gpt") ? Layouts.folder(name) : FamiliesTest.theirs(name);
  }

  /** The tensors of a model in its family's own files. */
  private Path exported(SourceModel model, String name) {
    Path ours = folder.resolve(name + "-ours");
    ModelWriter.writeModel(model, ours, Options.asItIs(), (_, _) -> {});
    Path theirs = folder.resolve(name);
    try (SourceModel again = ModelReader.open(ours)) {
      ModelWriter.writeHuggingFace(again, theirs, Options.asItIs(), (_, _) -> {});
    }
    return theirs;
  }

  @ParameterizedTest
  @CsvSource({
    "phi3, model.layers.1.self_attn.qkv_proj, model.layers.0.mlp.gate_up_proj, false",
    "phi4_mini, model.layers.1.self_attn.qkv_proj, model.layers.2.self_attn.o_proj, false",
    "gpt2, transformer.h.1.attn.c_attn, transformer.h.0.mlp.c_proj, true",
    "gpt_neox, gpt_neox.layers.1.attention.query_key_value, gpt_neox.layers.0.mlp.dense_h_to_4h,"
        + " false",
    "gpt_neox_parallel, gpt_neox.layers.0.attention.query_key_value,"
        + " gpt_neox.layers.1.attention.dense, false",
  })
  void merge_changesUnderTheFamilysNames_areAddedToItsMatrices(
      String name, String one, String other, boolean transposed) throws IOException {
    Random random = new Random(7);
    Map<String, Factors> factors = new LinkedHashMap<>();
    Path plain;
    try (SourceModel model = ModelReader.open(source(name))) {
      plain = exported(model, "plain");
    }
    SequencedMap<String, float[]> before = new LinkedHashMap<>();
    Map<String, List<Long>> shapes = new HashMap<>();
    read(plain, before, shapes);
    for (String module : List.of(one, other)) {
      List<Long> shape = Objects.requireNonNull(shapes.get(module + ".weight"));
      int rows = Math.toIntExact(transposed ? shape.getLast() : shape.getFirst());
      int columns = Math.toIntExact(transposed ? shape.getFirst() : shape.getLast());
      factors.put(module, Factors.random(rows, columns, random));
    }
    Path adapter = adapter(factors);
    SequencedMap<String, float[]> after = new LinkedHashMap<>();
    try (SourceModel model = ModelReader.open(folder.resolve("plain-ours"));
        SourceModel merged = AdapterMerge.merge(model, adapter)) {
      read(exported(merged, "merged"), after, shapes);
    }

    assertThat(after.keySet()).isEqualTo(before.keySet());
    before.forEach(
        (tensor, numbers) -> {
          Factors changed = factors.get(tensor.replaceFirst("\\.weight$", ""));
          float[] expected = numbers.clone();
          for (int i = 0; changed != null && i < expected.length; i++) {
            int columns = Math.toIntExact(Objects.requireNonNull(shapes.get(tensor)).getLast());
            int row = transposed ? i % columns : i / columns;
            int column = transposed ? i / columns : i % columns;
            expected[i] += (float) changed.change(row, column);
          }
          assertThat(after.get(tensor))
              .as(tensor)
              .usingComparatorWithPrecision(changed == null ? 0f : 0.06f) // half a step at 16
              .containsExactly(expected);
        });
  }

  /** PEFT's names have the beginning that the folder's class has, which may also see. */
  @ParameterizedTest
  @ValueSource(strings = {"language_model.model.", "model.language_model."})
  void merge_changesOfATextModelWithin_areItsOwn(String beginning) throws IOException {
    String module = "layers.1.mlp.down_proj";
    Map<String, float[]> plain = new LinkedHashMap<>();
    Map<String, List<Long>> shapes = new HashMap<>();
    try (SourceModel model = ModelReader.open(source("gemma3"))) {
      read(exported(model, "plain"), plain, shapes);
    }
    List<Long> shape = Objects.requireNonNull(shapes.get("model." + module + ".weight"));
    Factors factors =
        Factors.random(
            Math.toIntExact(shape.getFirst()), Math.toIntExact(shape.getLast()), new Random(7));

    Map<String, float[]> usual = merged("model." + module, factors);
    Map<String, float[]> within = merged(beginning + module, factors);
    assertThat(within.keySet()).isEqualTo(plain.keySet());
    within.forEach((name, numbers) -> assertThat(numbers).as(name).isEqualTo(usual.get(name)));
    String changed = "model." + module + ".weight";
    assertThat(within.get(changed)).isNotEqualTo(plain.get(changed));
  }

  private Map<String, float[]> merged(String module, Factors factors) throws IOException {
    Map<String, float[]> tensors = new LinkedHashMap<>();
    try (SourceModel model = ModelReader.open(folder.resolve("plain-ours"));
        SourceModel merged = AdapterMerge.merge(model, adapter(Map.of(module, factors)))) {
      read(exported(merged, "with-" + module), tensors, new HashMap<>());
    }
    return tensors;
  }

  private static void read(Path model, Map<String, float[]> numbers, Map<String, List<Long>> shapes)
      throws IOException {
    try (WeightFiles files = WeightFiles.openStored(model)) {
      for (Map.Entry<String, StoredTensor> each : files.tensors().entrySet()) {
        String name = each.getKey();
        shapes.put(name, each.getValue().shape());
        ModelTensor.copy(name, new ModelTensor.Origin(name, each.getValue()))
            .as(SafetensorsType.F32)
            .use(
                value ->
                    numbers.put(
                        name, Tensors.bytes(value).toArray(ValueLayout.JAVA_FLOAT_UNALIGNED)));
      }
    }
  }
}
