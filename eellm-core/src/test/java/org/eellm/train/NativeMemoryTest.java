package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import org.bytedeco.javacpp.Pointer;
import org.eellm.config.RunConfig;
import org.eellm.distributed.World;
import org.eellm.tensor.NativeAllocation;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.Trace;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The garbage collector does not see what libtorch allocates: a tensor left over in each step would
 * fill the machine.
 */
class NativeMemoryTest {
  /**
   * One activation [4 x 64, 32] of float32 left over in every step. Java's compilers and collector
   * allocate a few MB to and fro meanwhile.
   */
  private static final long LEAK_OF_AN_ACTIVATION = 500L * 4 * 64 * 32 * 4;

  @TempDir Path folder;

  @Tag("slow")
  @Test
  void take_fiveHundredSteps_keepsNativeMemoryFlat() {
    RunConfig config =
        TinyRun.config(
            folder,
            "model.max_positions=64",
            "data.sequence_length=64",
            "train.micro_batch_size=4",
            "train.global_batch_size=4",
            "exits.head=[mlp, block, norm]",
            "exits.dynamic_token_weights=true",
            "model.hidden_dropout=0.1",
            "model.attention_dropout=0.1",
            "train.layer_dropout=0.2");
    Torch.setThreads(1);
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
      train(runner, evaluator, 1, 50);
      long pointers = Pointer.totalCount();
      long bytes = NativeAllocation.bytes();
      train(runner, evaluator, 51, 550);
      long grown = NativeAllocation.bytes() - bytes;
      // What Java's compilers hold while they are at a large method passes; a leak grows on.
      for (long last = 550; grown >= LEAK_OF_AN_ACTIVATION && last < 1050; last += 50) {
        train(runner, evaluator, last + 1, last + 50);
        grown = NativeAllocation.bytes() - bytes;
      }
      assertThat(Pointer.totalCount()).isLessThanOrEqualTo(pointers);
      assertThat(grown).isLessThan(LEAK_OF_AN_ACTIVATION);
    }
  }

  private static void train(StepRunner runner, Evaluator evaluator, long first, long last) {
    for (long step = first; step <= last; step++) {
      runner.trainStep(step);
      if (step % 50 == 0) {
        evaluator.evaluate(step);
      }
    }
  }
}
