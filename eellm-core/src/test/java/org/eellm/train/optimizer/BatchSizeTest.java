package org.eellm.train.optimizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.Rampup;
import org.eellm.train.TrainConfigs;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BatchSizeTest {
  private static final TrainConfig PLAIN = TrainConfigs.batches(4, 16, new Rampup(0, 0, 0));

  /** 8, 16, 24, then 32 sequences, a third of 100 samples at each. */
  private static final TrainConfig RAMP = TrainConfigs.batches(4, 32, new Rampup(8, 8, 100));

  @ParameterizedTest
  @CsvSource({"0, 8", "33, 8", "34, 16", "66, 16", "67, 24", "99, 24", "100, 32", "9999, 32"})
  void at_rampup_growsByIncrements(long consumed, int expected) {
    assertThat(BatchSize.at(RAMP, consumed)).isEqualTo(expected);
  }

  @Test
  void at_noRampup_isTheGlobalBatchSize() {
    assertThat(BatchSize.at(PLAIN, 0)).isEqualTo(16);
    assertThat(BatchSize.samplesBefore(PLAIN, 11)).isEqualTo(160);
  }

  @Test
  void samplesBefore_everyStep_equalsTheSumOfTheSizes() {
    for (TrainConfig train :
        new TrainConfig[] {
          PLAIN,
          RAMP,
          TrainConfigs.batches(1, 7, new Rampup(1, 1, 10)),
          TrainConfigs.batches(1, 7, new Rampup(1, 1, 3)),
          TrainConfigs.batches(1, 7, new Rampup(7, 1, 50)),
          TrainConfigs.batches(2, 64, new Rampup(2, 2, 1001)),
        }) {
      long consumed = 0;
      for (long step = 1; step <= 200; step++) {
        assertThat(BatchSize.samplesBefore(train, step)).isEqualTo(consumed);
        consumed += BatchSize.at(train, consumed);
      }
    }
  }

  @Test
  void samplesBefore_hugeStep_isClosedForm() {
    TrainConfig train = TrainConfigs.batches(1, 1000, new Rampup(1, 1, 1_000_000_000_000L));
    assertThat(BatchSize.samplesBefore(train, 10_000_000_000L))
        .isGreaterThan(1_000_000_000_000L)
        .isLessThan(10_000_000_000_000L);
  }

  @Test
  void samplesBefore_stepZero_isRefused() {
    assertThatThrownBy(() -> BatchSize.samplesBefore(PLAIN, 0)).hasMessageContaining("step 0");
  }
}
