package org.eellm.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.eellm.checkpoint.safetensors.CheckpointException;
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
