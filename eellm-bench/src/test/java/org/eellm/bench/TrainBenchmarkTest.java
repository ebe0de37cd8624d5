package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.bench.TrainBenchmark.Comparison;
import org.eellm.bench.TrainBenchmark.Report;
import org.eellm.bench.TuneBenchmark.Variant;
import org.eellm.config.RunConfig;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.OneThread;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.TinyRun;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

@ExtendWith(OneThread.class)
final class TrainBenchmarkTest {
  @TempDir private Path folder;

  private List<Report> onStages(boolean compared, String... settings) {
    RunConfig config =
        TinyRun.config(
            folder,
            Stream.concat(Stream.of("parallel.pp=2"), Stream.of(settings)).toArray(String[]::new));
    return InProcessRanks.run(
        new Mesh(1, 1, 2), world -> TrainBenchmark.run(config, world, 2, compared));
  }

  @Test
  void run_compared_setsTheMeshBesideNoExitsAndOneRank() {
    List<Report> reports = onStages(true);

    Report first = reports.getFirst();
    assertThat(first.microbatches()).isEqualTo(2);
    assertThat(first.bubble()).isCloseTo(1.0 / 3, within(1e-12));
    assertThat(first.limit()).isCloseTo(4.0 / 3, within(1e-12));
    assertThat(first.memory()).hasSize(2);
    assertThat(first.measured().exits()).containsExactly(1, 2);
    assertThat(first.measured().tokensPerSecond() * first.measured().stepSeconds())
        .isCloseTo(4 * 16, within(1e-6));
    Comparison others = first.comparison().orElseThrow();
    assertThat(others.withoutExits().exits()).isEmpty();
    assertThat(others.alone().orElseThrow().exits()).containsExactly(1, 2);
    assertThat(others.alone().orElseThrow().waiting()).isZero();
    assertThat(others.speedUp().orElseThrow()).isPositive();
    assertThat(others.gemmFlopsPerSecond()).isEmpty();
    assertThat(reports.getLast().comparison()).isEmpty();
  }

  @Test
  void run_zeroBubble_limitIsThatOfItsSchedule() {
    Report first = onStages(false, "parallel.schedule=zero_bubble").getFirst();

    assertThat(first.bubble()).isCloseTo(1.0 / 7, within(1e-12));
    assertThat(first.limit()).isCloseTo(12.0 / 7, within(1e-12));
  }

  @Test
  void run_meshOnly_comparesWithNothing() {
    assertThat(onStages(false)).extracting(Report::comparison).containsOnly(Optional.empty());
  }

  @Tag("slow") // It measures the rate of matrix products between steps.
  @ParameterizedTest
  @CsvSource({"0.1,0,true", "0,0.1,true", "0,0,false"})
  void run_oneRank_timesAMicrobatchBesideProductsAndWithoutDropout(
      double hidden, double attention, boolean timed) {
    RunConfig config =
        TinyRun.config(
            folder, "model.hidden_dropout=" + hidden, "model.attention_dropout=" + attention);

    Report report = TrainBenchmark.run(config, World.singleRank(), 1, true);

    assertThat(report.microbatches()).isEqualTo(1);
    assertThat(report.measured().tokensPerSecond() * report.measured().stepSeconds())
        .isCloseTo(2 * 16, within(1e-6));
    Comparison others = report.comparison().orElseThrow();
    assertThat(others.dropoutTime().isPresent()).isEqualTo(timed);
    assertThat(others.gemmFlopsPerSecond().orElseThrow())
        .isGreaterThan(report.measured().flopsPerSecond());
    assertThat(others.exitFlops()).isPositive();
    assertThat(others.alone()).isEmpty();
  }

  @Test
  void runTuning_eachWayToLearn_loadsAndStoresLess() {
    TuneBenchmark.Report report = TuneBenchmark.run(TinyRun.config(folder), 1);

    assertThat(report.tokensPerStep()).isEqualTo(2 * 16);
    assertThat(report.variants())
        .extracting(Variant::learning)
        .containsExactly("everything", "exits", "exits_from_final_head", "lora of rank 16");
    assertThat(report.variants()).extracting(Variant::layers).containsExactly(4, 2, 4, 4);
    assertThat(report.variants().getFirst().timeOfTraining()).isEqualTo(1);
    assertThat(report.variants().get(1).bytes()).isLessThan(report.variants().get(2).bytes());
    assertThat(report.variants().get(2).bytes()).isLessThan(report.variants().get(0).bytes());
    assertThat(report.variants())
        .extracting(variant -> variant.loss().isPresent())
        .containsExactly(true, false, false, true);
  }

  @Test
  void step_layerDropout_isThatOfARunsEnd() {
    String steps = "train.steps=100000";
    assertThat(Arrays.equals(afterAStep(steps), afterAStep(steps))).isTrue();
    assertThat(Arrays.equals(afterAStep(steps), afterAStep(steps, "train.layer_dropout=0.99")))
        .isFalse();
  }

  /** The first weights, after a step. */
  private float[] afterAStep(String... overrides) {
    try (BenchmarkRun run =
            new BenchmarkRun(TinyRun.config(folder, overrides), World.singleRank());
        Scope _ = Scope.open()) {
      run.step();
      return Tensors.bytes(run.model().parameters().flat())
          .asSlice(0, 4000)
          .toArray(ValueLayout.JAVA_FLOAT);
    }
  }
}
