package org.eellm.train.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.withinPercentage;

import java.nio.file.Path;
import java.util.Random;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.cost.MicrobatchShape;
import org.eellm.distributed.World;
import org.eellm.model.OutputMatrix;
import org.eellm.model.parameter.Gradients;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.eellm.train.TinyRun;
import org.eellm.train.TrainState;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

final class HeadLossTest {
  private static final int VOCABULARY = 1 << 16;
  private static final int TOKENS = 520;
  private static final int WIDTH = 16;

  @TempDir private Path folder;

  /** Three parts, the last of them short; on a GPU this is one. */
  @Test
  void forwardBackward_byPartsOfTheTokens_equalsLibtorchOnAllAtOnce() {
    assertThat(MicrobatchShape.headTokens(Device.CPU, VOCABULARY)).isEqualTo(256);
    assertThat(MicrobatchShape.headTokens(Device.CUDA, VOCABULARY)).isGreaterThan(TOKENS);
    RunConfig config =
        TinyRun.config(folder, "model.vocab_size=" + VOCABULARY, "model.hidden_size=" + WIDTH);
    torch.manual_seed(1);
    try (Scope _ = Scope.open();
        TrainState state = TrainState.random(config, World.singleRank());
        Gradients gradients = new Gradients(state.model().parameters())) {
      OutputMatrix output = state.model().heads().getLast().output();
      Tensor h = torch.randn(TOKENS, WIDTH);
      int[] targets = new Random(1).ints(TOKENS, 0, VOCABULARY).toArray();
      Tensor ids = Tensors.ofInts(targets, Torch.cpu(), TOKENS);
      Tensor mask = ids.remainder(Tensors.scalar(3)).ne(Tensors.scalar(0)).to(h.scalar_type());
      double scale = 0.5;
      gradients.start();

      HeadLoss.Result result =
          HeadLoss.forwardBackward(
              h,
              output,
              new HeadLoss.Target.Labels(ids),
              new HeadLoss.TokenWeights(mask, scale, false),
              1,
              gradients);

      gradients.finish();
      Tensor hidden = h.detach().clone().requires_grad_(true);
      Tensor matrix = output.weight().value().detach().clone().requires_grad_(true);
      Tensor loss =
          torch
              .log_softmax(torch.linear(hidden, matrix), -1L)
              .gather(1, ids.unsqueeze(1))
              .mul(mask.unsqueeze(1))
              .sum()
              .neg();
      TensorVector expected =
          torch.grad(
              new TensorVector(loss),
              new TensorVector(hidden, matrix),
              new TensorVector(torch.full_like(loss, Tensors.scalar(scale))),
              new BoolOptional(),
              false,
              false);
      assertThat(result.loss().item_double()).isCloseTo(loss.item_double(), withinPercentage(1e-3));
      requireClose(result.gradient(), expected.get(0));
      requireClose(
          state.model().parameters().get(output.weight().name()).of(gradients.flat()),
          expected.get(1));
    }
  }

  private static void requireClose(Tensor actual, Tensor expected) {
    double difference = actual.view(-1).sub(expected.view(-1)).norm().item_double();
    assertThat(difference).isLessThan(1e-5 * expected.norm().item_double());
  }
}
