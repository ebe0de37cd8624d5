package org.eellm.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.StageLayout.Slice;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class StageLayoutTest {
  private static final int LAYERS = 9;

  private static RunConfig config(String exits, boolean preExit, String more) {
    return ConfigFile.preset(
        "30m",
        List.of(
            "model.num_layers=" + LAYERS,
            "exits.layers=" + exits,
            "exits.weights=" + exits,
            "parallel.pp=4",
            "parallel.pre_exit=" + preExit,
            more));
  }

  private static double dearest(RunConfig config) {
    return config.stageLayout().slices().stream()
        .mapToDouble(
            slice -> StageLayout.cost(config.architecture(), slice, config.data().sequenceLength()))
        .max()
        .orElseThrow();
  }

  private static List<Integer> layers(RunConfig config) {
    return config.stageLayout().slices().stream().map(Slice::layers).toList();
  }

  /** All ways to cut the layers into four. */
  private static List<List<Integer>> splits() {
    List<List<Integer>> splits = new ArrayList<>();
    for (int a = 1; a < LAYERS; a++) {
      for (int b = 1; a + b < LAYERS; b++) {
        for (int c = 1; a + b + c < LAYERS; c++) {
          splits.add(List.of(a, b, c, LAYERS - a - b - c));
        }
      }
    }
    return splits;
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {"[]|false", "[2, 4]|false", "[2, 4]|true", "[1, 2, 3, 9]|false", "[6, 9]|true"})
  void of_balanceByCost_isTheCheapestSplitOfAll(String exits, boolean preExit) {
    RunConfig byCost = config(exits, preExit, "parallel.balance=cost");

    double least =
        splits().stream()
            .mapToDouble(
                split -> dearest(config(exits, preExit, "parallel.layers_per_stage=" + split)))
            .min()
            .orElseThrow();

    assertThat(dearest(byCost)).isEqualTo(least);
    assertThat(layers(byCost)).hasSize(4).allMatch(count -> count >= 1);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {"false|[[2], [4], [], [9]]", "true|[[], [2], [4], [9]]"})
  void of_exitsOnBoundaries_areOnTheStageSaid(boolean preExit, String wanted) {
    RunConfig config = config("[2, 4, 9]", preExit, "parallel.layers_per_stage=[2, 2, 4, 1]");

    List<List<Integer>> exits = config.stageLayout().slices().stream().map(Slice::exits).toList();
    assertThat(exits).hasToString(wanted);
  }
}
