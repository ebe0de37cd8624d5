package org.eellm.bench;

import java.util.Optional;
import java.util.SplittableRandom;
import org.eellm.config.RunConfig;
import org.eellm.data.SampleSource;
import org.eellm.distributed.World;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;
import org.eellm.train.RunData;
import org.eellm.train.StepRunner;
import org.eellm.train.TrainState;
import org.eellm.train.metrics.Trace;

/** A model that learns: with random weights and tokens, unless its configuration names others. */
final class BenchmarkRun implements AutoCloseable {
  /** Steps until the JVM has compiled them. */
  static final int WARMUP = 8;

  /** Steps before a run's end, where curricula have come to what most of them are about. */
  private static final int LAST_STEPS = 200;

  private final Optional<RunData> data;
  private final TrainState state;
  private final StepRunner runner;
  private Optional<StepRunner.Result> last = Optional.empty();
  private long step;

  /** Tokens that depend on the sample's number alone. */
  private record RandomTokens(int sequenceLength, int vocabulary) implements SampleSource {
    @Override
    public long samplesPerEpoch() {
      return Long.MAX_VALUE;
    }

    @Override
    public void sample(long index, int[] into, int offset) {
      SplittableRandom random = new SplittableRandom(index);
      for (int i = 0; i <= sequenceLength; i++) {
        into[offset + i] = random.nextInt(vocabulary);
      }
    }
  }

  BenchmarkRun(RunConfig config, World world) {
    step = Math.max(0, config.train().steps() - LAST_STEPS);
    data =
        config.train().model().map(_ -> RunData.open(config)); // random models learn random tokens
    state = data.isPresent() ? TrainState.initial(config, world) : TrainState.random(config, world);
    runner =
        new StepRunner(
            config,
            data.map(RunData::training)
                .orElseGet(
                    () ->
                        new RandomTokens(
                            config.data().sequenceLength(), config.model().vocabSize())),
            state,
            world,
            new Trace.Off());
  }

  /** Takes a whole step, clipping and update included; its seconds. */
  double step() {
    long start = System.nanoTime();
    step++;
    last = Optional.of(runner.trainStep(step));
    Torch.synchronize(model().device());
    return (System.nanoTime() - start) / 1e9;
  }

  /** The last step. */
  StepRunner.Result last() {
    return last.orElseThrow();
  }

  /** Updates once more with the last step's gradients. */
  void update() {
    runner.update(step);
  }

  /** This rank's part of the model. */
  Decoder model() {
    return state.model();
  }

  /** Bytes of its weights, gradients and optimizer state. */
  long bytes() {
    long learned = model().parameters().count();
    long moments =
        state.optimizer().state().stream().mapToLong(piece -> piece.values().numel()).sum();
    long weights = learned + model().parameters().frozenCount();
    return weights * model().parameters().flat().element_size() + Float.BYTES * (learned + moments);
  }

  @Override
  public void close() {
    runner.close();
    state.close();
    data.ifPresent(RunData::close);
  }
}
