package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.eellm.bench.PipelineBenchmark.Measured;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.pipeline.PipelineRanks;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.Sampler;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;

final class PipelineBenchmarkTest {

  @Test
  void benchmark_twoStages_measuresBothAndFindsTheSameIds() {
    try (Decoder whole = SmallModel.plain()) {
      List<Request> requests =
          List.of(
              request(List.of(1, 2, 3), ExitPolicies.maxProbability(Threshold.of(0.15))),
              request(List.of(9, 8, 7, 6, 5, 4), ExitPolicies.fixed(2)));
      List<List<Measured>> measured =
          InProcessRanks.run(
              new Mesh(1, 1, 2),
              1,
              Duration.ofSeconds(30),
              world -> {
                try (Decoder model = PipelineRanks.part(whole.architecture(), world)) {
                  model.initialize(7);
                  if (world.rank() == 0) {
                    return List.of(
                        PipelineBenchmark.measure(
                            whole, model, world, requests, Duration.ofMillis(100), 3));
                  }
                  PipelineBenchmark.takePart(model, world, requests);
                  return List.of();
                }
              });

      assertThat(measured.get(1)).isEmpty();
      Measured row = measured.getFirst().getFirst();
      assertThat(row.same()).isTrue();
      assertThat(row.alone()).isPositive();
      assertThat(row.staged()).isPositive();
      assertThat(row.ratio()).isPositive();
      assertThat(row.left()).hasSize(4).allSatisfy(share -> assertThat(share).isBetween(0.0, 1.0));
      assertThat(row.left().get(1)).isGreaterThanOrEqualTo(0.5); // all of the second text
      assertThat(row.left().stream().mapToDouble(share -> share).sum()).isCloseTo(1, within(1e-9));
    }
  }

  private static Request request(List<Integer> prompt, ExitPolicy policy) {
    return new Request(prompt, 20, Set.of(), policy, Sampler.greedy());
  }
}
