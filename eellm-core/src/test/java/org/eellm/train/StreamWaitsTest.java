package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.function.Function;
import org.eellm.config.ParallelConfig;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.collective.StreamBackend;
import org.eellm.distributed.collective.StreamBackend.Calls;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.OneThread;
import org.eellm.train.MeshSteps.Job;
import org.eellm.train.MeshSteps.Learner;
import org.eellm.train.MeshSteps.Outcome;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Training steps over collectives that a library does by itself, as NCCL does on a stream. */
@ExtendWith(OneThread.class)
final class StreamWaitsTest {
  private record Ranks(Calls calls) implements MeshSteps.Ranks {
    @Override
    public <T> List<T> run(Mesh mesh, Function<World, T> body) {
      return InProcessRanks.run(
          mesh,
          1,
          Duration.ofMinutes(1),
          store -> StreamBackend.factory(store, calls),
          (_, group) -> group,
          body);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"tp2", "tp2 sp", "pp2 dp2", "cp2 pp2"})
  void steps_onMesh_waitWithoutALimit(String name) {
    ParallelConfig parallel =
        MeshTest.LAYOUTS.stream()
            .filter(layout -> layout.name().equals(name))
            .findFirst()
            .orElseThrow()
            .parallel();
    Job job = Job.of("llama_mlp_block_gqa", Learner.USUAL);
    Calls calls = Calls.none();
    Outcome mesh =
        Objects.requireNonNull(MeshSteps.onMesh(parallel, List.of(job), new Ranks(calls)).get(job));
    Outcome alone = MeshSteps.alone(job);

    assertThat(calls.limitedWaits()).hasValue(0);
    assertThat(calls.unlimitedWaits().get()).isPositive();
    assertThat(calls.scattersDuringGathers().get() > 0).isEqualTo(parallel.sequenceParallel());
    for (int step = 0; step < alone.losses().size(); step++) {
      assertThat(mesh.losses().get(step)).containsExactly(alone.losses().get(step), within(1e-5));
    }
  }
}
