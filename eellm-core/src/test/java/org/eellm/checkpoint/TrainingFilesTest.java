package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.checkpoint.safetensors.CheckpointException;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.Quantization;
import org.eellm.config.TuneConfig.Lora;
import org.eellm.config.TuneConfig.Projection;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.TrainConfigs;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TrainingFilesTest {
  private record Guard(int bad, List<Double> norms) {}

  private record State(long step, long consumedSamples, Guard guard) {}

  @TempDir Path checkpoint;

  @Test
  void writeState_record_isReadBackBitForBit() throws IOException {
    State state =
        new State(Long.MAX_VALUE, 12, new Guard(1, List.of(0.1, Math.PI, Double.MIN_VALUE, 1e300)));
    TrainingFiles.writeState(checkpoint, state);
    assertThat(TrainingFiles.readState(checkpoint, State.class)).isEqualTo(state);
    assertThat(checkpoint.resolve("training/state.json"))
        .content()
        .contains("\"consumed_samples\" : 12");
  }

  @Test
  void readState_noState_isRefused() {
    assertThatThrownBy(() -> TrainingFiles.readState(checkpoint, State.class))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining(
            "state.json: is missing; only a whole checkpoint of a training run can be resumed");
  }

  private static Decoder changed(Projection... maps) {
    Architecture architecture =
        TrainConfigs.architecture(
            Normalization.RMSNORM,
            PositionEmbedding.ROPE,
            Activation.SWIGLU,
            false,
            true,
            ExitLayout.none());
    return Decoder.allocate(
        architecture,
        new Learning.Adapter(new Lora(2, 4, 0, Set.of(maps))),
        Quantization.NONE,
        DecoderShard.whole(architecture),
        Torch.cpu());
  }

  private static List<FlatStateShard> state(Decoder model) {
    long elements = model.parameters().flat().numel();
    return List.of(
        new FlatStateShard(
            "exp_avg", 0, Tensors.zeros(ScalarType.Float, model.device(), elements)));
  }

  @Test
  void readOptimizer_ofMapsThatTheRunDoesNotChange_isRefused() throws IOException {
    try (Scope _ = Scope.open();
        Decoder both = changed(Projection.Q_PROJ, Projection.UP_PROJ);
        Decoder one = changed(Projection.Q_PROJ)) {
      TrainingFiles.optimizer(both, state(both), 0, 1).write(checkpoint);
      TrainingFiles.readOptimizer(checkpoint, both, state(both));
      assertThatThrownBy(() -> TrainingFiles.readOptimizer(checkpoint, one, state(one)))
          .isInstanceOf(CheckpointException.class)
          .hasMessageContaining("mlp.up_proj.lora_")
          .hasMessageContaining("the checkpoint is of another run");
    }
  }

  @Test
  void readState_missingOrUnknownField_isRefusedByName() throws IOException {
    Path file = Files.createDirectories(checkpoint.resolve("training")).resolve("state.json");
    Files.writeString(file, "{\"step\":1,\"guard\":{\"bad\":0,\"norms\":[]}}");
    assertThatThrownBy(() -> TrainingFiles.readState(checkpoint, State.class))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("consumed_samples");
    Files.writeString(
        file, "{\"step\":1,\"consumed_samples\":1,\"guard\":{\"bad\":0,\"norms\":[]},\"x\":1}");
    assertThatThrownBy(() -> TrainingFiles.readState(checkpoint, State.class))
        .isInstanceOf(CheckpointException.class)
        .hasMessageContaining("the key 'x' is unknown");
  }
}
