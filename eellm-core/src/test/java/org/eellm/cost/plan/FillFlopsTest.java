package org.eellm.cost.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.List;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.cost.ModelFlops;
import org.junit.jupiter.api.Test;

/** Exits after layers 2 and 4 of 8, on the first of two stages. */
final class FillFlopsTest {
  private static double perToken(String fills) {
    RunConfig config =
        ConfigFile.read(
            Path.of("configs/30m.yaml"),
            List.of("parallel={pp: 2, " + fills + "}", "train.global_batch_size=16"));
    RunSchedules schedules = RunSchedules.of(config);
    return schedules.fillFlops(schedules.schedule(4), flops(config));
  }

  private static ModelFlops flops(RunConfig config) {
    return ModelFlops.perToken(config.architecture(), config.data().sequenceLength());
  }

  @Test
  void fillFlops_noFills_isNothing() {
    assertThat(perToken("fill_warmup: 0")).isZero();
  }

  @Test
  void fillFlops_eachKind_countsWhatItGoesThrough() {
    ModelFlops flops = flops(ConfigFile.read(Path.of("configs/30m.yaml"), List.of()));
    assertThat(perToken("fill_warmup: 2"))
        .isCloseTo(2 * (flops.trunk() / 2 + 2 * flops.exit()), within(1.0));
    assertThat(perToken("fill_cooldown: 1"))
        .isCloseTo(flops.trunk() / 6 + flops.trunk() / 2 + flops.finalHead(), within(1.0));
  }
}
