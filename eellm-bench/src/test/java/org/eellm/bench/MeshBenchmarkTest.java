package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.bench.MeshBenchmark.Comparison;
import org.eellm.bench.MeshBenchmark.Report;
import org.eellm.config.RunConfig;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.train.TinyRun;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class MeshBenchmarkTest {
  @TempDir private Path folder;

  private List<Report> measure(boolean compared, String... settings) {
    RunConfig config =
        TinyRun.config(
            folder,
            Stream.concat(Stream.of("parallel.pp=2"), Stream.of(settings)).toArray(String[]::new));
    return InProcessRanks.run(
        new Mesh(1, 1, 2), world -> MeshBenchmark.run(config, world, 2, compared));
  }

  @Test
  void run_compared_setsTheMeshBesideNoExitsAndOneRank() {
    List<Report> reports = measure(true);

    Report first = reports.getFirst();
    assertThat(first.microbatches()).isEqualTo(2);
    assertThat(first.bubble()).isCloseTo(1.0 / 3, within(1e-12));
    assertThat(first.measured().exits()).containsExactly(1, 2);
    assertThat(first.measured().tokensPerSecond() * first.measured().stepSeconds())
        .isCloseTo(4 * 16, within(1e-6));
    Comparison others = first.comparison().orElseThrow();
    assertThat(others.withoutExits().exits()).isEmpty();
    assertThat(others.alone().exits()).containsExactly(1, 2);
    assertThat(others.alone().waiting()).isZero();
    assertThat(others.limit()).isCloseTo(4.0 / 3, within(1e-12));
    assertThat(reports.getLast().comparison()).isEmpty();
  }

  @Test
  void run_zeroBubble_limitIsThatOfItsSchedule() {
    Report first = measure(true, "parallel.schedule=zero_bubble").getFirst();

    assertThat(first.bubble()).isCloseTo(1.0 / 7, within(1e-12));
    assertThat(first.comparison().orElseThrow().limit()).isCloseTo(12.0 / 7, within(1e-12));
  }

  @Test
  void run_meshOnly_comparesWithNothing() {
    assertThat(measure(false)).extracting(Report::comparison).containsOnly(Optional.empty());
  }
}
