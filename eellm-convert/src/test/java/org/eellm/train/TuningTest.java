package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.huggingface.HuggingFaceConfig;
import org.eellm.checkpoint.huggingface.SourceModel;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.checkpoint.safetensors.SafetensorsFile;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.Quantization;
import org.eellm.config.RunConfig;
import org.eellm.config.StageLayout;
import org.eellm.config.StageLayout.Slice;
import org.eellm.config.TrainConfig.Recompute;
import org.eellm.config.TuneConfig;
import org.eellm.convert.ExitEditor;
import org.eellm.convert.ModelReader;
import org.eellm.convert.ModelWriter;
import org.eellm.cost.ParameterCount;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.Dropout;
import org.eellm.model.OutputMatrix;
import org.eellm.model.SoftCap;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.model.parameter.Sharding;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsFile;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.objective.HeadLoss;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.eellm.train.objective.StageExecutor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.FieldSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tuning exits: heads alone learn, from text and from the final head, on any mesh. */
final class TuningTest {
  static final List<String> GOLDEN = GoldenCase.NAMES;

  /** Of data, and of models that tests only read. */
  @TempDir static Path shared;

  private static final Map<List<String>, Path> MODELS = new HashMap<>();

  @TempDir Path folder;

  /** The walk that the golden cases prove gives heads the same gradients. */
  @ParameterizedTest
  @FieldSource("GOLDEN")
  void tune_fromText_givesHeadsTheGradientsOfFullTraining(String name) {
    GoldenCase golden = GoldenCase.named(name);
    Microbatch batch = golden.inputs().getFirst();
    Objective objective = golden.objective();
    Map<String, float[]> expected = new TreeMap<>();
    try (Decoder whole = golden.model();
        Gradients gradients = new Gradients(whole.parameters())) {
      gradients.start();
      new StageExecutor(whole, Recompute.NONE)
          .forwardBackward(batch, objective, 0.5, Dropout.NONE, gradients);
      gradients.finish();
      whole.parameters().all().forEach(p -> expected.put(p.name(), floats(p, gradients)));
    }
    Slice slice =
        StageLayout.of(
                golden.architecture(),
                ParallelConfig.singleRank(),
                batch.sequence(),
                Learning.EXITS)
            .slices()
            .getFirst();

    try (Decoder part =
            golden.load(
                Decoder.allocate(
                    golden.architecture(),
                    Learning.EXITS,
                    Quantization.NONE,
                    DecoderShard.of(slice),
                    Torch.cpu()));
        Gradients gradients = new Gradients(part.parameters())) {
      gradients.start();
      try (Scope scope = Scope.open()) {
        new HeadTuningExecutor(part, part.stages().getFirst())
            .tune(batch, Received.NOTHING, objective, 0.5 / batch.counted(), gradients);
      }
      gradients.finish();

      assertThat(part.trunk()).hasSize(2 * golden.architecture().exits().layers().getLast());
      assertThat(gradients.flat().numel()).isEqualTo(part.parameters().count());
      assertThat(part.parameters().trainable())
          .allSatisfy(
              p -> {
                assertThat(p.name()).startsWith("exits.");
                assertThat(floats(p, gradients)).containsExactly(expected.get(p.name()));
              });
    }
  }

  private static float[] floats(Parameter parameter, Gradients gradients) {
    return Tensors.toFloats(parameter.of(gradients.flat()));
  }

  /** libtorch's own divergence, and differences of it, in float64. */
  @ParameterizedTest
  @CsvSource({"1, false", "2, false", "1, true"})
  void headLoss_ofATeacher_isItsDivergence(double temperature, boolean dynamic) {
    int n = 3;
    int width = 4;
    int vocabulary = 7;
    torch.manual_seed(1);
    try (Scope scope = Scope.open();
        Decoder any = GoldenCase.named("llama_embedding").model();
        Gradients gradients = new Gradients(any.parameters())) {
      Tensor h = torch.randn(n, width);
      Tensor w = torch.randn(vocabulary, width);
      Tensor teacher = torch.randn(n, width);
      Tensor mask = Tensors.ofFloats(new float[] {1, 0, 1}, Torch.cpu(), n);
      OutputMatrix output =
          new OutputMatrix(
              new Weight("w", 0, Sharding.ROWS, false, 0, w, Optional.empty()),
              TensorParallel.singleRank(),
              1,
              new SoftCap(0));
      gradients.start();

      HeadLoss.Result result =
          HeadLoss.forwardBackward(
              h,
              output,
              new HeadLoss.Target.Teacher(teacher, output),
              new HeadLoss.TokenWeights(mask, 1, dynamic),
              temperature,
              gradients);

      double[] wide = Tensors.toDoubles(h.to(ScalarType.Double));
      double[] confidences = confidences(wide, w, temperature, n, width);
      float[] gradient = Tensors.toFloats(result.gradient());
      double expected = divergence(wide, w, teacher, temperature, dynamic, confidences);
      assertThat((double) result.loss().item_float()).isCloseTo(expected, withinPercentage(1e-3));
      for (int i = 0; i < wide.length; i++) {
        double step = 1e-5;
        double[] moved = wide.clone();
        moved[i] += step;
        double up = divergence(moved, w, teacher, temperature, dynamic, confidences);
        moved[i] -= 2 * step;
        double down = divergence(moved, w, teacher, temperature, dynamic, confidences);
        assertThat((double) gradient[i]).isCloseTo((up - down) / (2 * step), within(1e-4));
      }
    }
  }

  private static Tensor logProbabilities(Tensor h, Tensor w, double temperature) {
    Tensor logits = torch.linear(h, w.to(ScalarType.Double));
    return torch.log_softmax(logits.div(Tensors.scalar(temperature)), -1L);
  }

  private static double[] confidences(double[] h, Tensor w, double temperature, int n, int width) {
    Tensor log = logProbabilities(Tensors.ofDoubles(h, Torch.cpu(), n, width), w, temperature);
    return Tensors.toDoubles(log.exp().amax(new long[] {-1}, false));
  }

  /** Summed over the first and the last of three tokens. */
  private static double divergence(
      double[] h,
      Tensor w,
      Tensor teacher,
      double temperature,
      boolean dynamic,
      double[] confidences) {
    Tensor p = logProbabilities(Tensors.ofDoubles(h, Torch.cpu(), 3, h.length / 3), w, temperature);
    Tensor q = logProbabilities(teacher.to(ScalarType.Double), w, temperature);
    double[] byToken = Tensors.toDoubles(torch.kl_div(p, q, 0, true).sum(-1L));
    return byToken[0] * (dynamic ? confidences[0] : 1)
        + byToken[2] * (dynamic ? confidences[2] : 1);
  }

  /** A trained tiny model. */
  private static Path model(String... settings) {
    return MODELS.computeIfAbsent(
        List.of(settings),
        _ -> {
          RunConfig config =
              TinyRun.config(
                  shared,
                  Stream.concat(Stream.of(settings), Stream.of("train.steps=12"))
                      .toArray(String[]::new));
          return finish(Trainer.start(config, shared.resolve("model-" + MODELS.size())))
              .checkpoint();
        });
  }

  private RunConfig tuning(Path model, Optional<Path> heads, String... overrides) {
    Path file = folder.resolve("tune.yaml");
    try {
      Files.writeString(
          file,
          """
          data: {sources: ["%s"], split: [80, 20, 0], sequence_length: 16}
          train: {steps: 12, micro_batch_size: 2, global_batch_size: 8, eval_interval: 6, eval_batches: 4, threads: 1}
          optimizer: {learning_rate: 1e-2, schedule: constant}
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
            heads.map(Path::toString),
            TuneConfig.Target.TEXT,
            TuneConfig.Lora.none()),
        (heads.isPresent() ? ModelFolder.resolve(model, heads.get()) : ModelFolder.resolve(model))
            .config()
            .architecture());
  }

  private static Outcome finish(Trainer started) {
    try (Trainer trainer = started) {
      return trainer.run(MetricsSink.none(), () -> false);
    }
  }

  @ParameterizedTest
  @CsvSource({"text", "final_head"})
  void run_resumed_goesOnAsTheUndisturbed_andLeavesTheTrunkAlone(String target) throws Exception {
    Path model = model();
    Map<String, String> before = files(model);
    RunConfig config = tuning(model, Optional.empty(), "tune.target=" + target);

    Path whole = finish(Trainer.start(config, folder.resolve("whole"))).checkpoint();
    try (Trainer trainer = Trainer.start(config, folder.resolve("cut"))) {
      trainer.run(MetricsSink.none(), () -> trainer.step() >= 5);
    }
    Path cut = finish(Trainer.resume(config, folder.resolve("cut"))).checkpoint();

    assertThat(TimelessMetrics.of(folder.resolve("cut")))
        .isEqualTo(TimelessMetrics.of(folder.resolve("whole")));
    assertThat(cut.resolve("exits.safetensors"))
        .hasSameBinaryContentAs(whole.resolve("exits.safetensors"));
    assertThat(whole.resolve("config.json")).doesNotExist();
    assertThat(files(model)).containsExactlyEntriesOf(before);
    List<JsonNode> evaluations =
        MetricsFile.read(folder.resolve("whole/metrics.jsonl")).stream()
            .filter(line -> line.has("validation_loss_exit_1"))
            .toList();
    assertThat(evaluations.getFirst().get("step").asInt()).isZero();
    List<Double> losses =
        MetricsFile.read(folder.resolve("whole/metrics.jsonl")).stream()
            .filter(line -> line.has("loss_exit_1"))
            .map(line -> line.get("loss_exit_1").asDouble())
            .toList();
    assertThat(losses.getLast()).isLessThan(losses.getFirst());
    assertThat(evaluations.getLast().has("validation_agreement_exit_1"))
        .isEqualTo(target.equals("final_head"));
  }

  /** SHA-256 of every file of a folder. */
  private static Map<String, String> files(Path folder) throws Exception {
    Map<String, String> digests = new TreeMap<>();
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
        digests.put(folder.relativize(file).toString(), HexFormat.of().formatHex(digest));
      }
    }
    return digests;
  }

  private static final List<String> MESHES =
      List.of(
          "parallel.tp=2",
          "parallel.dp=2",
          "parallel.pp=2",
          "parallel.tp=2 parallel.pp=2 parallel.sequence_parallel=true",
          "parallel.pp=2 parallel.dp=2 parallel.pre_exit=true");

  @ParameterizedTest
  @ValueSource(strings = {"final_head", "text"})
  void run_onMesh_learnsWhatOneRankLearns(String target) {
    assertLearnsAsOneRank(model("exits.tie_output=false", "model.tie_embeddings=false"), target);
  }

  @Test
  void run_besideExpertsOnMesh_learnsWhatOneRankLearns() throws IOException {
    TinyRun.configFile(shared); // and its data
    Path model = folder.resolve("experts");
    try (SourceModel source =
        ModelReader.open(Path.of("eellm-convert/src/test/resources/families/qwen3_moe_mixed"))) {
      ExitLayout exits = new ExitLayout(List.of(1, 3), true, false, true, false);
      ModelWriter.writeModel(
          ExitEditor.add(source, exits, ExitEditor.Start.RANDOM, 1),
          model,
          ModelWriter.Options.asItIs(),
          (done, total) -> {});
    }
    assertLearnsAsOneRank(model, "final_head");
  }

  private void assertLearnsAsOneRank(Path model, String target) {
    String[] settings = {
      "tune.target=" + target,
      "exits.dynamic_token_weights=true",
      "train.steps=4",
      "train.eval_interval=4"
    };
    RunConfig alone = tuning(model, Optional.empty(), settings);
    Path expected = finish(Trainer.start(alone, folder.resolve("alone"))).checkpoint();
    List<ObjectNode> wanted = TimelessMetrics.of(folder.resolve("alone"));
    for (String mesh : MESHES) {
      RunConfig config =
          tuning(
              model,
              Optional.empty(),
              Stream.concat(Stream.of(settings), Stream.of(mesh.split(" ")))
                  .toArray(String[]::new));
      Path run = folder.resolve("mesh " + mesh);
      InProcessRanks.run(
          new Mesh(config.parallel().tp(), config.parallel().dp(), config.parallel().pp()),
          world -> finish(Trainer.start(config, run, world, false)));

      List<ObjectNode> found = TimelessMetrics.of(run);
      assertThat(found).hasSameSizeAs(wanted);
      for (int i = 0; i < wanted.size(); i++) {
        for (var figure : wanted.get(i).properties()) {
          assertThat(found.get(i).get(figure.getKey()).asDouble())
              .as("%s of line %d on %s", figure.getKey(), i, mesh)
              .isCloseTo(figure.getValue().asDouble(), withinPercentage(0.01));
        }
      }
      assertThat(heads(model, run).keySet()).isEqualTo(heads(model, expected).keySet());
    }
  }

  /** The heads' parameters, read back onto the trunk. */
  private static Map<String, float[]> heads(Path model, Path heads) {
    ModelFolder files = ModelFolder.resolve(model, heads);
    Map<String, float[]> values = new TreeMap<>();
    try (Decoder decoder =
        files.read(Decoder.allocate(files.config().architecture(), Torch.cpu()))) {
      for (Parameter parameter : decoder.parameters().all()) {
        if (parameter.name().startsWith("exits.")) {
          values.put(parameter.name(), Tensors.toFloats(parameter.value()));
        }
      }
    }
    return values;
  }

  @Test
  void trunkIsNotLoadedBeyondTheLastTunedExit_norGivenGradientsOrMoments() {
    Path model = model();
    RunConfig first = tuning(model, Optional.empty(), "exits.layers=[1]");
    try (TrainState state = TrainState.initial(first, World.singleRank())) {
      assertThat(first.model().numLayers()).isEqualTo(4);
      assertThat(state.model().trunk()).hasSize(2);
      assertThat(state.model().parameters().all().stream().map(Parameter::name))
          .noneMatch(
              name -> name.matches("model\\.layers\\.[123]\\..*|model\\.norm.*|exits\\.2.*"));
      long heads =
          state.model().parameters().trainable().stream().mapToLong(Parameter::numel).sum();
      assertThat(heads).isPositive().isEqualTo(state.model().parameters().count());
      assertThat(state.memory().weights()).isEqualTo(4 * heads);
      // Gradients, master weights' stand-ins and two moments: of the heads alone.
      assertThat(state.memory().state()).isEqualTo(4 * heads + 4 * 2 * heads);
      long layer = ParameterCount.of(first.architecture()).trunk() / 4;
      long embeddings = ParameterCount.of(first.architecture()).embeddings();
      assertThat(state.memory().frozen()).isEqualTo(4 * (layer + embeddings));
    }
  }

  @Test
  void start_whatNoMachineHolds_namesTheSetting_andLeavesNothing() {
    RunConfig config =
        tuning(
            model(),
            Optional.empty(),
            "train.micro_batch_size=1000000000",
            "train.global_batch_size=1000000000");
    Path run = folder.resolve("too large");
    assertThatThrownBy(() -> Trainer.start(config, run))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith("train.micro_batch_size: 1000000000 needs ");
    assertThat(run).doesNotExist();
  }

  @Test
  void heads_startAnotherTuning_andAreRefusedOnAnotherTrunk() throws IOException {
    Path model = model();
    RunConfig config = tuning(model, Optional.empty(), "train.steps=3");
    Path heads = finish(Trainer.start(config, folder.resolve("tuned"))).checkpoint();
    Map<String, float[]> first = heads(model, folder.resolve("tuned"));

    RunConfig more = tuning(model, Optional.of(folder.resolve("tuned")));
    try (TrainState state = TrainState.initial(more, World.singleRank())) {
      for (Parameter parameter : state.model().parameters().trainable()) {
        assertThat(Tensors.toFloats(parameter.value()))
            .containsExactly(first.get(parameter.name()));
      }
    }
    RunConfig other = TinyRun.config(shared, "train.steps=6", "train.seed=5");
    Path trunk = finish(Trainer.start(other, folder.resolve("other"))).checkpoint();
    assertThatThrownBy(() -> heads(trunk, heads))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("these heads were made for another trunk")
        .hasMessageNotContaining("\n");
    try (SourceModel source = ModelReader.open(model);
        SourceModel merged = ExitEditor.replace(source, heads)) {
      assertThat(merged.architecture().exits()).isEqualTo(config.exits().layout());
      assertThat(merged.tensors())
          .allMatch(tensor -> tensor.isCopy())
          .hasSameSizeAs(source.tensors());
    }
    try (SourceModel wrong = ModelReader.open(trunk)) {
      assertThatThrownBy(() -> ExitEditor.replace(wrong, heads))
          .hasMessageContaining("these heads were made for another trunk");
    }
    assertThatThrownBy(() -> HuggingFaceConfig.read(heads)).isInstanceOf(CheckpointException.class);
    assertThatThrownBy(() -> ModelFolder.resolve(folder.resolve("tuned")))
        .hasMessageContaining("has heads and no trunk");
    List<String> names = new ArrayList<>();
    try (SafetensorsFile file = SafetensorsFile.open(heads.resolve("exits.safetensors"))) {
      names.addAll(file.tensors().keySet());
    }
    assertThat(names).isNotEmpty().allMatch(name -> name.startsWith("exits."));
  }
}
