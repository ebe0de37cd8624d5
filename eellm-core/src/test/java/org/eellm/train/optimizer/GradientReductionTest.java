package org.eellm.train.optimizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.Learning;
import org.eellm.config.ModelConfig.Activation;
import org.eellm.config.ModelConfig.Normalization;
import org.eellm.config.ModelConfig.PositionEmbedding;
import org.eellm.config.Quantization;
import org.eellm.config.StageLayout;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.ContextParallel;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.OneThread;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.train.TrainConfigs;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

@ExtendWith(OneThread.class)
final class GradientReductionTest {

  /** The norm of an exit is all that learns: one weight, which both ranks have whole. */
  @Test
  void finish_oneWeightThatAllRanksHave_takesTheFirstRanksGradient() {
    Architecture architecture =
        TrainConfigs.architecture(
            Normalization.RMSNORM,
            PositionEmbedding.ROPE,
            Activation.SWIGLU,
            false,
            true,
            new ExitLayout(List.of(2), true, false, false, true));
    List<float[]> sums =
        InProcessRanks.run(new Mesh(2, 1, 1, 1), world -> sum(architecture, world));
    assertThat(sums.getFirst()).containsOnly(1).hasSize(8);
    assertThat(sums.getLast()).containsExactly(sums.getFirst());
  }

  /** Sums gradients that are the rank's number, from 1. */
  private static float[] sum(Architecture architecture, World world) {
    StageLayout layout = StageLayout.whole(architecture);
    TensorParallel parallel = new TensorParallel(world.tp(), false);
    DecoderShard shard =
        new DecoderShard(
            Map.of(0, layout.slices().getFirst()), parallel, ContextParallel.singleRank(), 1);
    try (Scope _ = Scope.open();
        Decoder model =
            Decoder.allocate(
                architecture, Learning.EXITS, Quantization.NONE, shard, world.device());
        Gradients gradients = new Gradients(model.parameters());
        GradientReduction reduction =
            new GradientReduction(model, world, layout, gradients, 1 << 20)) {
      reduction.start();
      for (Weight weight : model.parameters().weights()) {
        Tensor gradient = weight.value().clone();
        gradients.add(weight, gradient.fill_(Tensors.scalar(world.rank() + 1)));
      }
      reduction.finish();
      return Tensors.toFloats(reduction.sums().getFirst());
    }
  }
}
