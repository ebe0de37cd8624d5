package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.eellm.config.RunConfig;
import org.eellm.train.metrics.MetricsSink;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class LocalReplicasTest {
  @TempDir private Path folder;

  private RunConfig config(String... settings) {
    return TinyRun.config(folder, settings);
  }

  @ParameterizedTest
  @CsvSource({"8, 1, 1", "8, 2, 2", "8, 3, 2", "8, 64, 8", "6, 4, 3", "1, 4, 1"})
  void sharing_processors_makesReplicasOfEqualParts(int batch, int processors, int replicas) {
    RunConfig run =
        config(
            "train.threads=0",
            "train.micro_batch_size=" + batch,
            "train.global_batch_size=" + 2 * batch);

    RunConfig shared = LocalReplicas.sharing(run, processors);

    assertThat(shared.parallel().dp()).isEqualTo(replicas);
    assertThat(shared.train().microBatchSize() * replicas).isEqualTo(batch);
    assertThat(shared.train().evalBatches()).isEqualTo(replicas * run.train().evalBatches());
  }

  @ParameterizedTest
  @CsvSource({
    "train.threads=2",
    "train.device=cuda",
    "parallel.pp=2",
    "model.hidden_size=65536", // replicas would not fit
  })
  void sharing_whatIsNotToBeShared_staysAsItIs(String setting) {
    RunConfig run = config("train.threads=0", setting);

    assertThat(LocalReplicas.sharing(run, 2)).isEqualTo(run);
  }

  @Test
  void sharingAs_runOfAnotherMachine_keepsItsReplicas() {
    RunConfig run =
        config("train.threads=0", "train.micro_batch_size=4", "train.global_batch_size=4");
    RunConfig begun = LocalReplicas.sharing(run, 4);
    RunFolder.create(folder.resolve("run"), begun).close();

    assertThat(LocalReplicas.sharingAs(folder.resolve("run"), run)).isEqualTo(begun);
    assertThat(LocalReplicas.sharingAs(folder.resolve("none"), run)).isEqualTo(run);
  }

  @Test
  void run_replicas_takeTheStepsOfOneRank() {
    RunConfig run = config("train.threads=0", "train.steps=10", "train.eval_interval=10");
    RunConfig shared = LocalReplicas.sharing(run, 2);

    Trainer.Outcome alone = train(run, "alone");
    Trainer.Outcome both = train(shared, "both");

    assertThat(shared.parallel().dp()).isEqualTo(2);
    assertThat(both.step()).isEqualTo(10);
    for (String head : List.of("exit_1", "exit_2", "final")) {
      assertThat(loss(both, head)).isCloseTo(loss(alone, head), within(1e-5));
    }
  }

  private static double loss(Trainer.Outcome outcome, String head) {
    Object loss = outcome.evaluation().orElseThrow().values().get("validation_loss_" + head);
    return ((Number) Objects.requireNonNull(loss)).doubleValue();
  }

  private Trainer.Outcome train(RunConfig run, String name) {
    return LocalReplicas.run(
        run,
        world -> {
          try (Trainer trainer = Trainer.start(run, folder.resolve(name), world, false)) {
            return trainer.run(MetricsSink.none(), () -> false);
          }
        });
  }
}
