package org.eellm.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.RunConfig;
import org.eellm.distributed.ForwardingCommunicator;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.collective.Communicator;
import org.eellm.distributed.collective.Reduction;
import org.eellm.distributed.collective.WorkHandle;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.tensor.OneThread;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Torch;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.Trace;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Copies of parameters that drift apart are found; operations that let them are refused. */
@ExtendWith(OneThread.class)
final class CopiesTest {
  @TempDir Path folder;

  /** Takes a step on a mesh, lets the last rank change a weight by a bit, and compares. */
  private void drift(Mesh mesh, String weight) {
    RunConfig config =
        TinyRun.config(
            folder,
            "parallel.tp=" + mesh.tp(),
            "parallel.cp=" + mesh.cp(),
            "parallel.dp=" + mesh.dp(),
            "parallel.pp=" + mesh.pp(),
            "train.micro_batch_size=1");
    InProcessRanks.run(
        mesh,
        world -> {
          try (RunData data = RunData.open(config);
              TrainState state = TrainState.initial(config, world);
              StepRunner runner =
                  new StepRunner(config, data.training(), state, world, new Trace.Off())) {
            runner.trainStep(1);
            state.advance(1);
            runner.requireEqualCopies();
            if (world.rank() == mesh.size() - 1 && !weight.isEmpty()) {
              try (Scope scope = Scope.open()) {
                Tensor first =
                    state.model().parameters().get(weight).value().view(-1).narrow(0, 0, 1);
                first.copy_(first.mul(new Scalar(1 + 0x1p-23)));
              }
            }
            runner.requireEqualCopies();
            return true;
          }
        });
  }

  @ParameterizedTest
  @CsvSource({
    "1, 1, 2, 1, model.layers.2.mlp.down_proj.weight",
    "1, 2, 1, 1, model.layers.2.mlp.down_proj.weight",
    "2, 1, 1, 1, model.layers.2.input_layernorm.weight",
    "1, 1, 1, 2, model.embed_tokens.weight",
    "2, 1, 1, 2, model.embed_tokens.weight",
  })
  void requireEqualCopies_ofOneThatDiffersByABit_namesIt(
      int tp, int cp, int dp, int pp, String weight) {
    assertThatThrownBy(() -> drift(new Mesh(tp, cp, dp, pp), weight))
        .hasMessageContaining("step 1: " + weight + " is not the same on all of the 2 ranks");
  }

  @ParameterizedTest
  @CsvSource({"2, 1, 1, 1", "1, 1, 2, 1", "1, 1, 1, 2", "2, 1, 2, 2", "2, 2, 1, 2"})
  void requireEqualCopies_afterAStep_holds(int tp, int cp, int dp, int pp) {
    assertThatCode(() -> drift(new Mesh(tp, cp, dp, pp), "")).doesNotThrowAnyException();
  }

  /** A group whose third sum of gradients is not on this rank what it is on the others. */
  private static final class Drifting extends ForwardingCommunicator {
    private int sums;

    Drifting(Communicator group) {
      super(group);
    }

    @Override
    public WorkHandle allReduce(Tensor tensor, Reduction reduction) {
      WorkHandle sum = super.allReduce(tensor, reduction);
      boolean drifts = reduction == Reduction.SUM && ++sums == 3;
      return () -> {
        sum.await();
        if (drifts) {
          tensor.mul_(new Scalar(1.5));
        }
      };
    }
  }

  /** Checked every so many steps, and with the checkpoint at the end. */
  @ParameterizedTest
  @CsvSource({"1, 3", "2, 4", "0, 6"})
  void run_sumOfTheThirdStepDiffers_endsAtTheNextCheck(int interval, int step) {
    Mesh mesh = new Mesh(2, 1, 1, 1);
    RunConfig config =
        TinyRun.config(
            folder, "parallel.tp=2", "train.steps=6", "train.copies_interval=" + interval);
    assertThatThrownBy(
            () ->
                InProcessRanks.run(
                    mesh,
                    1,
                    Duration.ofMinutes(1),
                    InProcessRanks::transport,
                    (members, group) ->
                        members.name().equals("stage") && members.rank() == 1
                            ? new Drifting(group)
                            : group,
                    world -> {
                      try (Trainer trainer =
                          Trainer.start(config, folder.resolve("run"), world, false)) {
                        return trainer.run(MetricsSink.none(), () -> false);
                      }
                    }))
        .hasMessageContaining("step " + step + ": ")
        .hasMessageContaining("norm.weight is not the same on all of the 2 ranks that hold it");
  }

  @Test
  void setDeterministic_refusesAnOperationThatHasNoSuchForm() {
    try (Scope scope = Scope.open()) {
      Tensor sums = torch.zeros(4);
      Tensor places = torch.zeros_like(sums).to(torch.ScalarType.Long);
      Torch.setDeterministic(true);
      try {
        assertThatThrownBy(() -> sums.put_(places, torch.ones(4), false))
            .hasMessageContaining("does not have a deterministic implementation");
      } finally {
        Torch.setDeterministic(false);
      }
      assertThat(List.of(sums.put_(places, torch.ones(4), false).numel())).containsExactly(4L);
    }
  }
}
