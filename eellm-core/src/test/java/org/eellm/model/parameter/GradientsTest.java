package org.eellm.model.parameter;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.SplittableRandom;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Quantization;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.ParameterSpec.Initial;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;

final class GradientsTest {
  /** More rows than a block has, and no multiple of them. */
  private static final int ROWS = 2_500;

  private static final int WIDTH = 640;
  private static final int TOKENS = 3;

  @Test
  void addProduct_inBfloat16_addsWholeMatrices() {
    SplittableRandom random = new SplittableRandom(1);
    double[] g = random.doubles(TOKENS * ROWS, -1, 1).toArray();
    double[] x = random.doubles(TOKENS * WIDTH, -1, 1).toArray();
    ParameterSpec spec = ParameterSpec.of("w", Initial.ZEROS, Sharding.REPLICATED, ROWS, WIDTH);
    try (Scope scope = Scope.open();
        Parameters parameters =
            Parameters.allocate(
                List.of(List.of(spec)),
                _ -> true,
                Quantization.NONE,
                TensorParallel.singleRank(),
                new Parameters.Memory(ScalarType.BFloat16, Torch.cpu(), 1));
        Gradients gradients = new Gradients(parameters)) {
      Weight weight = parameters.weights().getFirst();
      gradients.start();
      gradients.addProduct(weight, narrow(g, ROWS), narrow(x, WIDTH));
      gradients.addProduct(weight, narrow(g, ROWS), narrow(x, WIDTH));

      float[] sum = Tensors.toFloats(gradients.flat());
      double worst = 0;
      for (int row = 0; row < ROWS; row++) {
        for (int column = 0; column < WIDTH; column++) {
          double product = 0;
          for (int token = 0; token < TOKENS; token++) {
            product += g[token * ROWS + row] * x[token * WIDTH + column];
          }
          worst = Math.max(worst, Math.abs(sum[row * WIDTH + column] - 2 * product));
        }
      }
      assertThat(worst).isLessThan(0.06);
    }
  }

  private static Tensor narrow(double[] values, int width) {
    return Tensors.ofDoubles(values, Torch.cpu(), TOKENS, width)
        .to(Torch.cpu(), ScalarType.BFloat16);
  }
}
