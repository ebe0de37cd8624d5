package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import org.eellm.config.TuneConfig;
import org.eellm.convert.AdapterMerge;
import org.eellm.convert.ModelReader;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.Decoder;
import org.eellm.model.StoredDecoder;
import org.eellm.model.StoredDecoder.Part;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.ParameterSpec;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.MetricsSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Low-rank changes of a trained model: learned on any mesh, kept in PEFT's layout, merged. */
final class LoraTuningTest {
  private static final String WEIGHTS = "adapter_model.safetensors";

  /** Of data, and of models that tests only read. */
  @TempDir static Path shared;

  private static final Map<List<String>, Path> MODELS = new HashMap<>();

  @TempDir Path folder;

  /** A tiny model that has learned little. */
  private static Path model(String... settings) {
    return MODELS.computeIfAbsent(
        List.of(settings),
        _ -> {
          RunConfig config =
              TinyRun.config(
                  shared,
                  Stream.concat(
                          Stream.of(settings),
                          Stream.of("train.steps=4", "optimizer.warmup_steps=0"))
                      .toArray(String[]::new));
          Path run = shared.resolve("model-" + MODELS.size());
          return finish(Trainer.start(config, run)).checkpoint();
        });
  }

  private RunConfig tuning(Path model, String... overrides) {
    Path file = folder.resolve("tune.yaml");
    try {
      Files.writeString(
          file,
          """
          data: {sources: ["%s"], split: [80, 20, 0], sequence_length: 16}
          train: {steps: 8, micro_batch_size: 2, global_batch_size: 8, eval_interval: 4, eval_batches: 4, threads: 1}
          optimizer: {learning_rate: 1e-2, schedule: constant}
          tune: {lora: {rank: 4, alpha: 8}}
          """
              .formatted(shared.resolve("data")));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return ConfigFile.readTuning(
        ConfigFile.Text.of(file),
        List.of(overrides),
        new TuneConfig(
            Optional.of(model.toString()),
            Optional.empty(),
            TuneConfig.Target.TEXT,
            TuneConfig.Lora.none()),
        ModelFolder.resolve(model).config().architecture());
  }

  private static Outcome finish(Trainer started) {
    try (Trainer trainer = started) {
      return trainer.run(MetricsSink.none(), () -> false);
    }
  }

  @ParameterizedTest
  @CsvSource({"float32", "bfloat16"})
  void run_resumed_goesOnAsTheUndisturbed_andLeavesTheModelAlone(String type) throws Exception {
    Path model = model();
    byte[] before = Files.readAllBytes(model.resolve("model.safetensors"));
    RunConfig config = tuning(model, "tune.lora.dropout=0.1", "model.dtype=" + type);

    Path whole = finish(Trainer.start(config, folder.resolve("whole"))).checkpoint();
    try (Trainer trainer = Trainer.start(config, folder.resolve("cut"))) {
      assertThat(trainer.describe().getFirst()).startsWith("changes of rank 4 learn; ");
      trainer.run(MetricsSink.none(), () -> trainer.step() >= 3);
    }
    Path cut = finish(Trainer.resume(config, folder.resolve("cut"))).checkpoint();

    assertThat(TimelessMetrics.of(folder.resolve("cut")))
        .isEqualTo(TimelessMetrics.of(folder.resolve("whole")));
    assertThat(cut.resolve(WEIGHTS)).hasSameBinaryContentAs(whole.resolve(WEIGHTS));
    assertThat(model.resolve("model.safetensors")).hasBinaryContent(before);
    assertThat(whole.resolve("config.json")).doesNotExist();
    List<Double> losses =
        MetricsFile.read(folder.resolve("whole/metrics.jsonl")).stream()
            .filter(line -> line.has("validation_loss_final"))
            .map(line -> line.get("validation_loss_final").asDouble())
            .toList();
    assertThat(losses).hasSize(3);
    assertThat(losses.getLast()).isLessThan(losses.getFirst() - 0.05);
    JsonNode description =
        new ObjectMapper().readTree(whole.resolve("adapter_config.json").toFile());
    assertThat(description.get("peft_type").asText()).isEqualTo("LORA");
    assertThat(description.get("r").asInt()).isEqualTo(4);
    assertThat(description.get("lora_alpha").asDouble()).isEqualTo(8);
    assertThat(description.get("target_modules")).hasSize(7);
    try (SafetensorsFile file = SafetensorsFile.open(whole.resolve(WEIGHTS))) {
      assertThat(file.tensors()).hasSize(2 * 7 * 4);
      assertThat(
              file.tensor("base_model.model.model.layers.3.self_attn.k_proj.lora_A.weight").shape())
          .containsExactly(4L, 32L);
      assertThat(file.tensor("base_model.model.model.layers.0.mlp.up_proj.lora_B.weight").shape())
          .containsExactly((long) config.model().ffnHiddenSize(), 4L);
    }
  }

  private static final List<String> MESHES =
      List.of(
          "parallel.tp=2 train.recompute=full",
          "parallel.dp=2 train.recompute=selective",
          "parallel.pp=2",
          "parallel.cp=2",
          "parallel.tp=2 parallel.pp=2 parallel.sequence_parallel=true");

  @Test
  void run_onMesh_learnsWhatOneRankLearns() {
    Path model = model("exits.tie_output=false", "model.num_key_value_heads=2");
    RunConfig alone = tuning(model);
    Path expected = finish(Trainer.start(alone, folder.resolve("alone"))).checkpoint();
    List<ObjectNode> wanted = TimelessMetrics.of(folder.resolve("alone"));
    Map<String, float[]> factors = factors(expected);
    for (String mesh : MESHES) {
      RunConfig config = tuning(model, mesh.split(" "));
      Path run = folder.resolve("mesh " + mesh);
      var parallel = config.parallel();
      Path checkpoint =
          InProcessRanks.run(
                  new Mesh(parallel.tp(), parallel.cp(), parallel.dp(), parallel.pp()),
                  world -> finish(Trainer.start(config, run, world, false)))
              .getFirst()
              .checkpoint();

      List<ObjectNode> found = TimelessMetrics.of(run);
      assertThat(found).hasSameSizeAs(wanted);
      for (int i = 0; i < wanted.size(); i++) {
        for (var figure : wanted.get(i).properties()) {
          JsonNode other = found.get(i).get(figure.getKey());
          if (other != null || !figure.getKey().contains("agreement")) {
            assertThat(Objects.requireNonNull(other).asDouble())
                .as("%s of line %d on %s", figure.getKey(), i, mesh)
                .isCloseTo(figure.getValue().asDouble(), withinPercentage(0.05));
          }
        }
      }
      Map<String, float[]> others = factors(checkpoint);
      assertThat(others.keySet()).isEqualTo(factors.keySet());
      factors.forEach(
          (name, values) ->
              assertThat(Objects.requireNonNull(others.get(name)))
                  .as("%s on %s", name, mesh)
                  .containsExactly(values, within(2e-3f)));
    }
    // What a mesh has written serves one rank.
    Path more =
        finish(
                Trainer.resume(
                    tuning(model, "train.steps=9"), folder.resolve("mesh " + MESHES.getLast())))
            .checkpoint();
    assertThat(factors(more)).hasSameSizeAs(factors);
  }

  private static Map<String, float[]> factors(Path adapter) {
    Map<String, float[]> values = new TreeMap<>();
    try (SafetensorsFile file = SafetensorsFile.open(adapter.resolve(WEIGHTS))) {
      file.tensors()
          .forEach(
              (name, stored) ->
                  values.put(
                      name,
                      stored.bytes().toArray(java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED)));
    }
    return values;
  }

  @Test
  void merged_everyWay_isTheModelWithTheChangesThatWereLearned() throws IOException {
    Path model = model();
    RunConfig config = tuning(model, "tune.lora.targets=[q_proj,v_proj,o_proj,down_proj]");
    Path adapter = finish(Trainer.start(config, folder.resolve("tuned"))).checkpoint();
    Map<String, float[]> factors = factors(adapter);
    Map<String, float[]> expected = new HashMap<>();
    ModelFolder own = ModelFolder.resolve(model);
    try (Decoder before = own.read(Decoder.allocate(own.config().architecture(), Torch.cpu()))) {
      for (Parameter parameter : before.parameters().all()) {
        expected.put(parameter.name(), changed(parameter, factors, 2));
      }
    }

    ModelFolder files = own.withAdapter(folder.resolve("tuned"));
    try (Decoder read = files.read(Decoder.allocate(own.config().architecture(), Torch.cpu()))) {
      for (Parameter parameter : read.parameters().all()) {
        assertClose(parameter.name(), Tensors.toFloats(parameter.value()), expected);
      }
    }
    Part part = Part.whole(own.config().architecture(), MatrixQuantization.NONE);
    try (StoredDecoder stored = files.stored(part)) {
      for (List<ParameterSpec> group : stored.parameterGroups()) {
        for (ParameterSpec spec : group) {
          assertClose(spec.name(), stored.rows(spec.name()).floats(), expected);
        }
      }
    }
    try (SourceModel source = ModelReader.open(model);
        SourceModel merged = AdapterMerge.merge(source, adapter)) {
      for (var tensor : merged.tensors()) {
        assertThat(tensor.isCopy()).isEqualTo(!factors.containsKey(factor(tensor.name(), "A")));
        tensor.use(value -> assertClose(tensor.name(), Tensors.toFloats(value), expected));
      }
    }
  }

  private static String factor(String name, String which) {
    return "base_model.model." + name.replaceFirst("\\.weight$", "") + ".lora_" + which + ".weight";
  }

  private static void assertClose(String name, float[] found, Map<String, float[]> expected) {
    assertThat(found)
        .as(name)
        .containsExactly(Objects.requireNonNull(expected.get(name)), within(1e-6f));
  }

  /** In float64. */
  private static float[] changed(Parameter parameter, Map<String, float[]> factors, double scale) {
    float[] values = Tensors.toFloats(parameter.value());
    float[] a = factors.get(factor(parameter.name(), "A"));
    float[] b = factors.get(factor(parameter.name(), "B"));
    if (a == null || b == null) {
      return values;
    }
    int in = (int) parameter.shape()[1];
    int rank = a.length / in;
    boolean changes = false;
    for (int i = 0; i < values.length; i++) {
      double sum = 0;
      for (int r = 0; r < rank; r++) {
        sum += (double) b[i / in * rank + r] * a[r * in + i % in];
      }
      changes |= sum != 0;
      values[i] = (float) (values[i] + scale * sum);
    }
    assertThat(changes).isTrue();
    return values;
  }

  @Test
  void adapter_ofAnotherTrunkOrKind_isRefusedInALine() throws IOException {
    Path model = model();
    Path adapter = finish(Trainer.start(tuning(model), folder.resolve("tuned"))).checkpoint();
    RunConfig other =
        TinyRun.config(shared, "train.steps=2", "optimizer.warmup_steps=0", "train.seed=5");
    Path trunk = finish(Trainer.start(other, folder.resolve("other"))).checkpoint();

    assertRefused(trunk, adapter, "this adapter was made for another trunk");
    assertThatThrownBy(() -> ModelFolder.resolve(folder.resolve("tuned")))
        .hasMessageContaining("has an adapter and no model; give --model its model");
    assertThatThrownBy(() -> ModelFolder.resolve(model).withAdapter(model))
        .hasMessageContaining("has no adapter_config.json");

    Path copy = Files.createDirectory(folder.resolve("copy"));
    Files.copy(adapter.resolve(WEIGHTS), copy.resolve(WEIGHTS));
    Files.writeString(
        copy.resolve("adapter_config.json"),
        "{\"peft_type\": \"LORA\", \"use_dora\": true, \"r\": 4, \"lora_alpha\": 8}");
    assertRefused(model, copy, "use_dora: true is not supported");
    // As PEFT writes it, with fields that say nothing, and without a trunk: any of these shapes.
    Files.writeString(
        copy.resolve("adapter_config.json"),
        """
        {"peft_type": "LORA", "r": 4, "lora_alpha": 4, "use_rslora": true, "bias": "none",
         "modules_to_save": null, "alpha_pattern": {}, "use_dora": false, "revision": null}
        """);
    ModelFolder own = ModelFolder.resolve(trunk);
    Map<String, float[]> factors = factors(adapter);
    String name = "model.layers.1.mlp.up_proj.weight";
    try (Decoder before = own.read(Decoder.allocate(own.config().architecture(), Torch.cpu()));
        Decoder after =
            own.withAdapter(copy)
                .read(Decoder.allocate(own.config().architecture(), Torch.cpu()))) {
      assertThat(Tensors.toFloats(after.parameters().get(name).value()))
          .containsExactly(changed(before.parameters().get(name), factors, 2), within(1e-6f));
    }
  }

  private static void assertRefused(Path model, Path adapter, String message) {
    ModelFolder files = ModelFolder.resolve(model).withAdapter(adapter);
    assertThatThrownBy(
            () -> files.read(Decoder.allocate(files.config().architecture(), Torch.cpu())).close())
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "tune.lora.rank=-1 | tune.lora.rank: -1 is negative",
        "tune.lora.rank=33 | tune.lora.rank: 33 is above model.hidden_size 32",
        "tune.lora.alpha=0 | tune.lora.alpha: 0.0 is not positive",
        "tune.lora.dropout=1 | tune.lora.dropout: 1.0 is not from 0 to below 1",
        "tune.lora.dropout=0.1 parallel.tp=2 | tune.lora.dropout: 0.1 draws no masks",
        "tune.target=final_head | tune.target: final_head has no effect with tune.lora.rank",
        "tune.lora.rank=0 tune.lora.alpha=4 | tune.lora.alpha: 4.0 has no effect with"
            + " tune.lora.rank: 0",
        "optimizer.algorithm=muon | optimizer.algorithm: muon is for whole matrices",
        "parallel.schedule=zero_bubble parallel.pp=2 | parallel.schedule: zero_bubble puts off"
            + " gradients",
        "train.model=x | train.model: x has no effect with tune.model",
      })
  void config_whatLoraDoesNotGoWith_isRefused(String settings, String message) {
    Path model = model();
    assertThatThrownBy(() -> tuning(model, settings.split(" ")))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(message)
        .hasMessageNotContaining("\n");
  }

  @Test
  void run_modelWithoutExits_learns_andKeepsNoStateOfTheTrunk() {
    Path model = model("exits.layers=[]", "exits.weights=[]");
    RunConfig config = tuning(model, "tune.lora.targets=[q_proj]");
    try (TrainState state = TrainState.initial(config, World.singleRank())) {
      long learned = 4L * 4 * (32 + 32);
      assertThat(state.memory().weights()).isEqualTo(4 * learned);
      assertThat(state.memory().state()).isEqualTo(4 * learned + 4 * 2 * learned);
    }
  }
}
