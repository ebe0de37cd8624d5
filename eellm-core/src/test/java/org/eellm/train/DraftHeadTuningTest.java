package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import org.bytedeco.pytorch.Tensor;
import org.eellm.checkpoint.DraftHeadFiles;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.DataType;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.config.TuneConfig;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Objective;
import org.eellm.train.objective.Received;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Training draft heads, and putting them beside their models. */
final class DraftHeadTuningTest {
  private static final int SEQUENCE = 9;
  private static final List<Double> WEIGHTS = List.of(1.0, 0.8, 0.64);

  @TempDir private Path folder;

  private static double learn(Decoder model, Microbatch batch, Gradients gradients) {
    Objective objective =
        new Objective(Collections.nCopies(4, 0.0), Collections.nCopies(4, 1.0), false, 0, WEIGHTS);
    gradients.start();
    try (Scope _ = Scope.open()) {
      double loss =
          new HeadTuningExecutor(model, model.stages().getFirst())
              .tune(batch, Received.NOTHING, objective, 1, gradients)
              .heads()
              .getLast()
              .sum()
              .item_double();
      gradients.finish();
      return loss;
    }
  }

  private static Microbatch batch() {
    Random random = new Random(1);
    int count = 2 * SEQUENCE;
    float[] mask = new float[count];
    Arrays.fill(mask, 1);
    mask[5] = 0;
    return new Microbatch(
        2,
        SEQUENCE,
        random.ints(count, 0, SmallModel.VOCABULARY).toArray(),
        random.ints(count, 0, SmallModel.VOCABULARY).toArray(),
        mask,
        new int[count]);
  }

  /** Along a random direction of each parameter. */
  @Test
  void learn_severalTokensAhead_hasTheSlopeOfItsLoss() {
    try (Decoder model = SmallModel.withDraftHead(DataType.FLOAT32);
        Gradients gradients = new Gradients(model.parameters())) {
      Microbatch batch = batch();
      learn(model, batch, gradients);
      float[] slopes = Tensors.toFloats(gradients.flat());
      for (Parameter parameter : model.parameters().trainable()) {
        if (parameter.name().matches(".*(k_proj|v_proj|up_proj|o_proj).*")) {
          continue; // as their neighbours
        }
        try (Scope _ = Scope.open()) {
          Tensor value = parameter.value();
          float[] before = Tensors.toFloats(value);
          float[] direction = new float[before.length];
          Random random = new Random(parameter.name().hashCode());
          double slope = 0;
          for (int i = 0; i < direction.length; i++) {
            float own = slopes[Math.toIntExact(parameter.offset()) + i];
            direction[i] = (float) random.nextGaussian();
            slope += direction[i] * own;
          }
          double step = 1e-3;
          set(parameter, before, direction, step);
          double up = learn(model, batch, gradients);
          set(parameter, before, direction, -step);
          double down = learn(model, batch, gradients);
          set(parameter, before, direction, 0);

          assertThat((up - down) / (2 * step))
              .as(parameter.name())
              .isCloseTo(slope, within(0.05 + 0.02 * Math.abs(slope)));
        }
      }
    }
  }

  private static void set(Parameter parameter, float[] before, float[] direction, double step) {
    float[] moved = before.clone();
    for (int i = 0; i < moved.length; i++) {
      moved[i] += (float) step * direction[i];
    }
    Tensor value = parameter.value();
    value.view(-1).copy_(Tensors.ofFloats(moved, Torch.cpu(), moved.length));
  }

  private RunConfig tuning(Path model, String... overrides) throws IOException {
    Path file = folder.resolve("tune.yaml");
    Files.writeString(
        file,
        """
        data: {sources: ["%s"], split: [80, 20, 0], sequence_length: 16}
        train: {steps: 40, micro_batch_size: 4, global_batch_size: 4, eval_interval: 40, eval_batches: 4, threads: 1}
        optimizer: {algorithm: muon, learning_rate: 3e-3, muon_learning_rate: 1e-2, schedule: constant}
        tune: {target: draft_head}
        """
            .formatted(folder.resolve("data")));
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

  private Path model(String name, String... settings) {
    return finish(Trainer.start(TinyRun.config(folder, settings), folder.resolve(name)))
        .checkpoint();
  }

  @Test
  void tune_draftHead_learnsResumesAndDraftsBesideItsModelAlone() throws IOException {
    Path model = model("model");
    RunConfig config = tuning(model);
    Path run = folder.resolve("head");
    Outcome outcome = finish(Trainer.start(config, run));
    try (Trainer cut = Trainer.start(config, folder.resolve("cut"))) {
      cut.run(MetricsSink.none(), () -> cut.step() >= 15);
    }
    Path resumed = finish(Trainer.resume(config, folder.resolve("cut"))).checkpoint();

    assertThat(resumed.resolve("draft_head.safetensors"))
        .hasSameBinaryContentAs(outcome.checkpoint().resolve("draft_head.safetensors"));
    double agreement =
        Objects.requireNonNull(outcome.evaluation().orElseThrow().heads().get(HeadId.DRAFT_HEAD))
            .agreement()
            .orElseThrow();
    assertThat(agreement).isGreaterThan(0.6);
    assertThatThrownBy(() -> ModelFolder.resolve(run))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("has a draft head and no model");

    assertThat(accepted(model, DraftSource.TEXT)).isNotNegative();
    assertThatThrownBy(() -> accepted(model, DraftSource.HEAD))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining("head needs a draft head beside a model");
    DraftHeadFiles.put(ModelFolder.resolve(model), run);
    assertThat(accepted(model, DraftSource.HEAD)).isPositive();
    assertThat(ModelFolder.resolve(folder.resolve("model")).folder()).isEqualTo(model);

    Path other = model("other", "train.seed=5", "train.steps=6");
    Path eagle = Files.createDirectories(folder.resolve("eagle"));
    Files.writeString(
        eagle.resolve("config.json"), "{\"architectures\": [\"LlamaForCausalLMEagle3\"]}");
    assertThatThrownBy(() -> DraftHeadFiles.put(ModelFolder.resolve(model), eagle))
        .isInstanceOf(CheckpointException.class)
        .hasMessage(
            eagle.resolve("config.json")
                + ": [\"LlamaForCausalLMEagle3\"] is not eellm's draft head, and heads of other"
                + " layouts (EAGLE, MTP) are not read; make one with eellm tune --preset"
                + " tune-draft-head");
    assertThatThrownBy(() -> DraftHeadFiles.put(ModelFolder.resolve(other), run))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("this draft head was made for another trunk");
  }

  private static int accepted(Path model, DraftSource source) {
    ModelFolder files = ModelFolder.resolve(model);
    Architecture architecture = files.config().architecture();
    try (DecodingModel decoder = files.decoder(architecture, Device.CPU, MatrixQuantization.NONE)) {
      Request request =
          new Request(
              List.of(1, 4),
              14,
              Set.of(),
              new DecodingMethod.AdaptiveDrafts(source),
              Sampler.greedy());
      List<Result> texts =
          Generator.generate(decoder, Limits.of(decoder), List.of(request), TokenListener.none());
      return texts.getFirst().usage().acceptedTokens();
    }
  }

  @Test
  void tune_draftHeadInAPipeline_isRefused() throws IOException {
    Path model = model("model", "train.steps=2", "optimizer.warmup_steps=0");
    assertThatThrownBy(() -> tuning(model, "parallel.pp=2"))
        .isInstanceOf(ConfigException.class)
        .hasMessageContaining(
            "tune.target: draft_head learns on ranks that have all of the model; use parallel.dp"
                + " alone");
  }
}
