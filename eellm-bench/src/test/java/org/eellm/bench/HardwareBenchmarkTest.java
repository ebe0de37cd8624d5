package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.eellm.bench.HardwareBenchmark.Report;
import org.eellm.config.ConfigFile;
import org.eellm.config.RunConfig;
import org.eellm.cost.Hardware;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.train.TrainException;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("slow")
final class HardwareBenchmarkTest {
  private static final long MACHINE = 16L << 30;

  /** Few, for processors that are slow at bfloat16. */
  private static final int ROWS = 32;

  /** Again where the machine was too busy, as the benchmark asks for. */
  private static List<Report> measure(RunConfig config) {
    for (int attempt = 1; ; attempt++) {
      try {
        return InProcessRanks.run(
            new Mesh(1, 2, 1), world -> HardwareBenchmark.run(world, 0.01, MACHINE, ROWS, config));
      } catch (DistributedException e) {
        if (attempt == 3 || !(e.getCause() instanceof TrainException)) {
          throw e;
        }
      }
    }
  }

  @Test
  void run_twoRanks_measuresRatesThatBothReport() {
    RunConfig config =
        ConfigFile.preset(
            "30m",
            List.of(
                "model.vocab_size=256",
                "model.hidden_size=64",
                "model.num_heads=2",
                "model.ffn_hidden_size=128",
                "model.num_layers=2",
                "exits.layers=[1]",
                "exits.weights=[0.3]",
                "train.micro_batch_size=2",
                "train.global_batch_size=2"));

    List<Report> reports = measure(config);

    Report report = reports.getFirst();
    Hardware hardware = report.hardware();
    assertThat(reports).containsExactly(report, report);
    assertThat(report.products())
        .hasSize(8)
        .allSatisfy(product -> assertThat(product.flopsPerSecond()).isPositive().isFinite());
    // The profile's own checks have seen to its other rates.
    assertThat(hardware.streamGbPerSecond()).isPositive();
    assertThat(hardware.operationMicroseconds()).isPositive();
    assertThat(hardware.memoryGib()).isEqualTo(8);
    assertThat(hardware.devicesPerNode()).isEqualTo(2);
    assertThat(hardware.float32().peak()).isGreaterThanOrEqualTo(hardware.float32().product());
  }
}
