package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.SplittableRandom;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.config.RunConfig;
import org.eellm.data.CountedTokens;
import org.eellm.data.IndexedDatasetWriter;
import org.eellm.data.SampleSource;
import org.eellm.distributed.NcclOrder;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.OneThread;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.StepRunner.Result;
import org.eellm.train.metrics.Trace;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.objective.HeadTuningExecutor;
import org.eellm.train.objective.HeadTuningExecutor.HeadScore;
import org.eellm.train.objective.Microbatch;
import org.eellm.train.objective.Received;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Runs that learn from a part of their tokens, of which microbatches have ever other numbers. */
@ExtendWith(OneThread.class)
final class MaskedRunTest {
  private static final int STEPS = 3;

  @TempDir Path folder;

  private record Outcome(List<Result> steps, Evaluation evaluation) {}

  /** Chats of one long question each, of which some have no answer at all. */
  @BeforeEach
  void writeChats() {
    SplittableRandom random = new SplittableRandom(3);
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("chats"), 32)) {
      for (int chat = 0; chat < 120; chat++) {
        int answer = chat % 4 == 0 ? 0 : random.nextInt(1, 9);
        int length = random.nextInt(12, 40);
        for (int i = 0; i < length; i++) {
          writer.add(
              new CountedTokens(
                  new int[] {random.nextInt(31)}, new boolean[] {i >= length - answer}));
        }
        writer.endDocument();
      }
      writer.commit();
    }
  }

  private RunConfig config(String... overrides) {
    List<String> all = new ArrayList<>(List.of(overrides));
    all.add("data.sources=[\"" + folder.resolve("chats") + "\"]");
    all.add("train.micro_batch_size=1");
    all.add("train.global_batch_size=8");
    return TinyRun.config(folder, all.toArray(String[]::new));
  }

  private static Outcome run(RunConfig config, World world) {
    List<Result> results = new ArrayList<>();
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, world);
        StepRunner runner =
            new StepRunner(config, data.training(), state, world, new Trace.Off())) {
      for (int step = 1; step <= STEPS; step++) {
        results.add(runner.trainStep(step));
      }
      runner.awaitParameters();
      Evaluation evaluation =
          new Evaluator(
                  config,
                  data.validation().orElseThrow(),
                  data.bytesOfToken(),
                  state.model(),
                  world,
                  new Trace.Off())
              .evaluate(STEPS);
      return new Outcome(results, evaluation);
    }
  }

  private static void assertAlike(Outcome actual, Outcome expected) {
    for (int step = 0; step < STEPS; step++) {
      Result wanted = expected.steps().get(step);
      Result found = actual.steps().get(step);
      assertThat(found.gradientNorm()).isCloseTo(wanted.gradientNorm(), within(2e-4));
      wanted
          .losses()
          .forEach(
              (head, loss) -> assertThat(found.losses().get(head)).isCloseTo(loss, within(2e-5)));
    }
    expected
        .evaluation()
        .heads()
        .forEach(
            (head, quality) ->
                assertThat(Objects.requireNonNull(actual.evaluation().heads().get(head)).loss())
                    .isCloseTo(quality.loss(), within(2e-5)));
  }

  @ParameterizedTest
  @CsvSource({
    "1,1,2,1,''",
    "1,1,1,2,''",
    "2,1,1,1,''",
    "1,2,1,1,''",
    "1,1,2,2,exits.distillation=0.5",
    "2,1,2,1,exits.dynamic_token_weights=true"
  })
  void steps_onMesh_areThoseOfAWorldOfOne(int tp, int cp, int dp, int pp, String override) {
    String[] learning = override.isEmpty() ? new String[0] : new String[] {override};
    Outcome alone = run(config(learning), World.singleRank());
    String[] mesh = {
      "parallel.tp=" + tp, "parallel.cp=" + cp, "parallel.dp=" + dp, "parallel.pp=" + pp
    };
    RunConfig parallel =
        config(Stream.of(learning, mesh).flatMap(Stream::of).toArray(String[]::new));
    NcclOrder.run(new Mesh(tp, cp, dp, pp), world -> run(parallel, world))
        .forEach(outcome -> assertAlike(outcome, alone));
  }

  @ParameterizedTest
  @CsvSource({"2,''", "4,exits.dynamic_token_weights=true", "8,train.recompute=full"})
  void steps_inOtherMicrobatches_areTheSame(int size, String override) {
    String[] learning = override.isEmpty() ? new String[0] : new String[] {override};
    List<String> larger = new ArrayList<>(List.of(learning));
    larger.add("data.sources=[\"" + folder.resolve("chats") + "\"]");
    larger.add("train.micro_batch_size=" + size);
    larger.add("train.global_batch_size=8");
    larger.add("train.eval_batches=1");
    Outcome actual = run(TinyRun.config(folder, larger.toArray(String[]::new)), World.singleRank());
    String samples = "train.eval_batches=" + size;
    Outcome ones =
        run(
            config(Stream.concat(Stream.of(learning), Stream.of(samples)).toArray(String[]::new)),
            World.singleRank());
    assertAlike(actual, ones);
  }

  /** Samples that know how often masks were counted. */
  private record Watched(SampleSource samples, AtomicInteger counts) implements SampleSource {
    @Override
    public int sequenceLength() {
      return samples.sequenceLength();
    }

    @Override
    public long samplesPerEpoch() {
      return samples.samplesPerEpoch();
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      samples.sample(index, into, offset);
    }

    @Override
    public boolean isMasked() {
      return samples.isMasked();
    }

    @Override
    public void lossMask(long index, float[] into, int offset) {
      samples.lossMask(index, into, offset);
    }

    @Override
    public long counted(long index) {
      counts.incrementAndGet();
      return samples.counted(index);
    }
  }

  @Test
  void step_countsEachMaskOnce() {
    RunConfig config = config();
    AtomicInteger counts = new AtomicInteger();
    try (RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank());
        StepRunner runner =
            new StepRunner(
                config,
                new Watched(data.training(), counts),
                state,
                World.singleRank(),
                new Trace.Off())) {
      runner.trainStep(1);
      assertThat(counts).hasValue(8);
    }
  }

  /** Each sequence by itself: sums of what the mask counts, over how much that is in the batch. */
  @Test
  void step_losses_areMeansOverTheCountedTokensOfTheBatch() {
    RunConfig config = config();
    try (Scope _ = Scope.open();
        RunData data = RunData.open(config);
        TrainState state = TrainState.initial(config, World.singleRank())) {
      double[] sums = new double[3];
      double counted = 0;
      for (int i = 0; i < 8; i++) {
        Microbatch batch = Microbatch.of(data.training(), i, 1);
        for (float weight : batch.lossMask()) {
          counted += weight;
        }
        for (HeadScore score :
            new HeadTuningExecutor(state.model()).score(batch, Received.NOTHING).heads()) {
          sums[score.index()] += Tensors.toDoubles(score.sums())[0];
        }
      }
      assertThat(counted).isBetween(1.0, 100.0); // of 128
      Result step = run(config, World.singleRank()).steps().getFirst();
      assertThat(step.countedTokens()).hasValue((long) counted);
      List<HeadId> heads = List.copyOf(step.losses().keySet());
      for (int head = 0; head < 3; head++) {
        assertThat(step.losses().get(heads.get(head)))
            .isCloseTo(sums[head] / counted, within(1e-5));
      }
    }
  }

  @Test
  void step_nothingCounted_changesNothingByItsLoss() {
    try (IndexedDatasetWriter writer = IndexedDatasetWriter.create(folder.resolve("chats"), 32)) {
      for (int chat = 0; chat < 100; chat++) {
        writer.add(new CountedTokens(new int[] {1, 2, 3, 4, 5, 6, 7, 8}, new boolean[8]));
        writer.endDocument();
      }
      writer.commit();
    }
    for (Result step : run(config(), World.singleRank()).steps()) {
      assertThat(step.loss()).isZero();
      assertThat(step.gradientNorm()).isZero();
    }
  }
}
