package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.StepRunner.Result;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class StepRunnerTest {
  @TempDir Path folder;

  /** Tiny products on several threads are slower than on one, many times so on a busy machine. */
  @BeforeEach
  void oneThread() {
    Torch.setThreads(1);
  }

  /** The results of a run's steps. */
  private List<Result> run(int steps, String... overrides) {
    RunConfig config = TinyRun.config(folder, overrides);
    List<Result> results = new ArrayList<>();
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank());
        StepRunner runner =
            new StepRunner(config, data.training(), state, World.singleRank(), new Trace.Off())) {
      for (int step = 1; step <= steps; step++) {
        results.add(runner.trainStep(step));
      }
    }
    return results;
  }

  @Test
  void trainStep_whileACheckpointCopiesTheState_waitsBeforeItsUpdate() throws InterruptedException {
    RunConfig config = TinyRun.config(folder);
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank());
        StepRunner runner =
            new StepRunner(config, data.training(), state, World.singleRank(), new Trace.Off())) {
      float[] before = Tensors.toFloats(state.model().parameters().flat());
      StateCopy copy = new StateCopy();
      state.lendTo(copy);
      Thread step =
          Thread.ofPlatform()
              .start(
                  () -> {
                    Torch.setThreads(1);
                    runner.trainStep(1);
                  });
      while (step.getState() != Thread.State.WAITING) {
        assertThat(step.isAlive()).as("waits for the copy").isTrue();
        Thread.onSpinWait();
      }
      assertThat(Tensors.toFloats(state.model().parameters().flat())).isEqualTo(before);
      copy.complete();
      step.join();
      assertThat(Tensors.toFloats(state.model().parameters().flat())).isNotEqualTo(before);
      assertThat(copy.waited()).isPositive();
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.dtype=float32",
        "model.dtype=bfloat16",
        "exits.dynamic_token_weights=true",
        "exits.temperatures=[2, 0.5]",
        "train.layer_dropout=0.2",
        "model.hidden_dropout=0.1",
        "train.recompute=full",
        "train.recompute=selective",
      })
  void take_steps_lowerTheLossOfEveryHead(String override) {
    List<Result> results = run(60, override);
    Result first = results.getFirst();
    Result last = results.getLast();
    assertThat(first.losses().keySet())
        .containsExactly(HeadId.exit(1), HeadId.exit(2), HeadId.FINAL);
    assertThat(last.losses().values()).allSatisfy(loss -> assertThat(loss).isLessThan(0.8 * 3.46));
  }

  @Test
  void take_step_reportsTheWeightedObjective() {
    Result step = run(1).getFirst();
    assertThat(step.exitWeights())
        .containsEntry(HeadId.exit(1), 0.25)
        .containsEntry(HeadId.exit(2), 0.5);
    List<Double> losses = List.copyOf(step.losses().values());
    double objective = 0.25 * losses.get(0) + 0.5 * losses.get(1) + losses.get(2);
    assertThat(step.loss()).isCloseTo(objective, within(1e-12));
    assertThat(losses.getLast()).isCloseTo(Math.log(32), within(0.1));
    assertThat(step.decision()).isEqualTo(UpdateDecision.APPLY);
  }

  @Test
  void take_sameBatchInOtherMicrobatches_isTheSameStep() {
    List<Result> ones = run(5, "train.micro_batch_size=1");
    List<Result> fours = run(5, "train.micro_batch_size=4");
    for (int i = 0; i < 5; i++) {
      assertThat(ones.get(i).loss()).isCloseTo(fours.get(i).loss(), within(1e-4));
      assertThat(ones.get(i).gradientNorm()).isCloseTo(fours.get(i).gradientNorm(), within(1e-3));
    }
  }

  @Test
  void take_twice_isTheSameToTheBit() {
    String[] overrides = {"train.layer_dropout=0.2", "model.hidden_dropout=0.1"};
    assertThat(run(5, overrides))
        .usingRecursiveComparison()
        .ignoringFields("waiting", "memory")
        .isEqualTo(run(5, overrides));
  }

  @Test
  void take_exitOfWeightZero_isNotComputed() {
    List<Result> results =
        run(3, "exits.curriculum=rotational", "exits.curriculum_steps=2", "exits.weights=[1, 1]");
    assertThat(results.get(0).losses().keySet()).containsExactly(HeadId.exit(1), HeadId.FINAL);
    assertThat(results.get(1).losses().keySet()).containsExactly(HeadId.exit(2), HeadId.FINAL);
    assertThat(results.get(2).losses().keySet())
        .containsExactly(HeadId.exit(1), HeadId.exit(2), HeadId.FINAL);
  }

  @Test
  void trainStep_layerDropoutByStep_beginsWithoutAny() {
    String[] steps = {
      "train.steps=3", "optimizer.warmup_steps=0", "exits.layers=[1]", "exits.weights=[1]"
    };
    List<Result> none = run(3, steps);
    List<Result> growing = run(3, with(steps, "train.layer_dropout=0.9"));
    List<Result> constant =
        run(3, with(steps, "train.layer_dropout=0.9", "train.layer_dropout_curriculum=constant"));
    assertThat(growing.getFirst().loss()).isEqualTo(none.getFirst().loss());
    assertThat(constant.getFirst().loss()).isNotEqualTo(none.getFirst().loss());
    assertThat(growing.getLast().loss()).isNotEqualTo(none.getLast().loss());
  }

  private static String[] with(String[] settings, String... more) {
    return Stream.of(settings, more).flatMap(Stream::of).toArray(String[]::new);
  }

  @Test
  void trainStep_distillationRises_hasItsShareOfTheWeight() {
    List<Result> without = run(3);
    List<Result> rising =
        run(3, "exits.distillation=1", "exits.distillation_start=1", "exits.distillation_steps=4");
    List<Result> quarter = run(3, "exits.distillation=0.25", "exits.distillation_start=2");
    for (int step = 0; step < 2; step++) {
      assertThat(rising.get(step).gradientNorm()).isEqualTo(without.get(step).gradientNorm());
    }
    assertThat(rising.get(2).gradientNorm())
        .isEqualTo(quarter.get(2).gradientNorm())
        .isNotEqualTo(without.get(2).gradientNorm());
  }

  @Test
  void take_rampup_growsTheBatch() {
    List<Result> results = run(4, "train.rampup={start: 2, increment: 2, samples: 4}");
    assertThat(results.stream().map(Result::batchSize)).containsExactly(2, 2, 4, 4);
  }

  @Test
  void take_notFinite_leavesTheModelAndStopsTheRunInTime() {
    RunConfig config = TinyRun.config(folder, "train.max_bad_steps=3");
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank());
        StepRunner runner =
            new StepRunner(config, data.training(), state, World.singleRank(), new Trace.Off())) {
      state.model().parameters().get("model.norm.weight").value().fill_(Tensors.scalar(Double.NaN));
      float[] before = Tensors.toFloats(state.model().parameters().flat());
      assertThat(runner.trainStep(1).decision()).isEqualTo(UpdateDecision.SKIP_NOT_FINITE);
      assertThat(runner.trainStep(2).decision()).isEqualTo(UpdateDecision.SKIP_NOT_FINITE);
      assertThat(Tensors.toFloats(state.model().parameters().flat())).isEqualTo(before);
      assertThatThrownBy(() -> runner.trainStep(3))
          .isInstanceOf(TrainException.class)
          .hasMessageStartingWith("step 3: loss NaN");
    }
  }

  @Test
  void evaluate_trainedModel_measuresEveryHeadAlikeEachTime() {
    RunConfig config = TinyRun.config(folder);
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank());
        StepRunner runner =
            new StepRunner(config, data.training(), state, World.singleRank(), new Trace.Off())) {
      Evaluator evaluator =
          new Evaluator(
              config,
              data.validation().orElseThrow(),
              data.bytesOfToken(),
              state.model(),
              World.singleRank(),
              new Trace.Off());
      Evaluation before = evaluator.evaluate(0);
      for (int step = 1; step <= 60; step++) {
        runner.trainStep(step);
      }
      Evaluation after = evaluator.evaluate(60);
      assertThat(after).isEqualTo(evaluator.evaluate(60));
      assertThat(after.heads().keySet())
          .containsExactly(HeadId.exit(1), HeadId.exit(2), HeadId.FINAL);
      double untrained = before.heads().firstEntry().getValue().loss();
      assertThat(after.heads().values())
          .allSatisfy(
              quality -> {
                assertThat(quality.loss()).isLessThan(0.8 * untrained);
                assertThat(quality.accuracy()).isBetween(0.25, 0.65);
              });
      assertThat(after.bytesPerToken()).isEmpty();
    }
  }
}
