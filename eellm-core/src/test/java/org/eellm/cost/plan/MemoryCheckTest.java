package org.eellm.cost.plan;

import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.config.TuneConfig;
import org.eellm.config.TuneConfig.Target;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class MemoryCheckTest {
  private static final long MACHINE = 16_000_000_000L;

  private static RunConfig config(String... overrides) {
    List<String> all = new ArrayList<>(List.of("model.vocab_size=8192"));
    all.addAll(List.of(overrides));
    return ConfigFile.read(Path.of("configs/30m.yaml"), all);
  }

  @Test
  void require_preset_fits() {
    assertThatCode(() -> MemoryCheck.require(config(), MACHINE, 1)).doesNotThrowAnyException();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "train.micro_batch_size=300000 train.global_batch_size=300000 | train.micro_batch_size:"
            + " 300000",
        "data.sequence_length=1000000 model.max_positions=1000000 train.micro_batch_size=1 |"
            + " data.sequence_length: 1000000",
        "model.vocab_size=1000000000 | model.vocab_size: 1000000000",
        "model.hidden_size=102400 | model.hidden_size: 102400",
        "model.ffn_hidden_size=2000000000 | model.ffn_hidden_size: 2000000000",
        "model.num_layers=10000 | model.num_layers: 10000",
        "model.position_embedding=learned model.max_positions=16777216 | model.max_positions:"
            + " 16777216",
      })
  void require_sizeBeyondTheMachine_namesTheSetting(String overrides, String named) {
    RunConfig config = config(overrides.split(" "));
    assertThatThrownBy(() -> MemoryCheck.require(config, MACHINE, 1))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(named + " needs ")
        .hasMessageContaining(" of memory in all, and the machine has 16.0 GB; ");
  }

  private static RunConfig tuning(String... overrides) {
    RunConfig all = config(overrides);
    return new RunConfig(
        all.model(),
        all.exits(),
        all.data(),
        all.train(),
        all.optimizer(),
        all.parallel(),
        all.checkpoint(),
        all.logging(),
        new TuneConfig(
            Optional.of("model"),
            Optional.empty(),
            List.of(overrides).contains("exits.weights=[0.5]") ? Target.FINAL_HEAD : Target.TEXT,
            TuneConfig.Lora.none()));
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "train.micro_batch_size=300000 train.global_batch_size=300000 | train.micro_batch_size:"
            + " 300000",
        "data.sequence_length=1000000 model.max_positions=1000000 train.micro_batch_size=1 |"
            + " data.sequence_length: 1000000",
        "model.vocab_size=1000000000 | model.vocab_size: 1000000000",
        "model.num_layers=10000 exits.layers=[9000] exits.weights=[0.1] | model.num_layers: 10000",
        "model.num_layers=10000 exits.layers=[2] exits.weights=[0.5] | model.num_layers: 10000",
      })
  void require_tuningBeyondTheMachine_namesTheSetting(String overrides, String named) {
    RunConfig config = tuning(overrides.split(" "));
    assertThatThrownBy(() -> MemoryCheck.require(config, MACHINE, 1))
        .isInstanceOf(ConfigException.class)
        .hasMessageStartingWith(named + " needs ");
  }

  /** Of a trunk in bfloat16, each parameter takes 2 bytes, not the 16 of one that learns. */
  @Test
  void require_tuning_needsNoGradientsOfTheTrunk_norLayersAboveTheLastExit() {
    String[] deep = {"model.num_layers=600", "exits.layers=[300]", "exits.weights=[0.1]"};
    assertThatThrownBy(() -> MemoryCheck.require(config(deep), MACHINE, 1))
        .hasMessageStartingWith("model.num_layers: 600 needs ");
    assertThatCode(() -> MemoryCheck.require(tuning(deep), MACHINE, 1)).doesNotThrowAnyException();
  }

  @Test
  void require_ranksOfOneMachine_shareItsMemory() {
    RunConfig config =
        config("parallel.dp=4", "train.global_batch_size=64", "train.micro_batch_size=16");
    assertThatCode(() -> MemoryCheck.require(config, 4_000_000_000L, 1)).doesNotThrowAnyException();
    assertThatThrownBy(() -> MemoryCheck.require(config, 4_000_000_000L, 4))
        .hasMessageStartingWith("train.micro_batch_size: 16 needs ");
  }
}
