package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.eellm.data.SampleSource;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RunDataTest {
  @TempDir Path folder;

  private static int[][] samples(SampleSource source) {
    int[][] samples = new int[20][source.sequenceLength() + 1];
    for (int i = 0; i < samples.length; i++) {
      source.sample(i, samples[i], 0);
    }
    return samples;
  }

  private RunData open(List<String> settings, int seed) {
    List<String> all = new ArrayList<>(settings);
    all.add("train.seed=" + seed);
    return RunData.open(TinyRun.config(folder, all.toArray(String[]::new)));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void validation_ofAnySeed_isTheSame(boolean ownDatasets) {
    Path data = folder.resolve("data");
    List<String> settings =
        ownDatasets
            ? List.of("data.split=[990, 9, 1]", "data.validation=[%s]".formatted(data))
            : List.of();
    try (RunData one = open(settings, 1);
        RunData other = open(settings, 2)) {
      assertThat(samples(one.validation().orElseThrow()))
          .isDeepEqualTo(samples(other.validation().orElseThrow()));
      assertThat(Arrays.deepEquals(samples(one.training()), samples(other.training()))).isFalse();
    }
  }
}
