package org.eellm.model.parameter;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.Quantization;
import org.eellm.model.TensorParallel;
import org.eellm.model.parameter.ParameterSpec.Initial;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;

final class PostponedProductsTest {
  private static final int WIDTH = 3;

  @Test
  void add_afterTheFactorsScopesHaveClosed_addsThemInTheirOrder() {
    ParameterSpec spec = ParameterSpec.of("w", Initial.ZEROS, Sharding.REPLICATED, WIDTH, WIDTH);
    try (Scope _ = Scope.open();
        Parameters parameters =
            Parameters.allocate(
                List.of(List.of(spec)),
                _ -> true,
                Quantization.NONE,
                TensorParallel.singleRank(),
                new Parameters.Memory(ScalarType.Float, Torch.cpu(), 1));
        Gradients gradients = new Gradients(parameters);
        PostponedProducts later = new PostponedProducts()) {
      Weight weight = parameters.weights().getFirst();
      List<String> order = new ArrayList<>();
      gradients.start();
      gradients.addProduct(weight, row(100), row(1));
      try (Gradients.Postponing _ = gradients.postpone(later);
          Scope _ = Scope.open()) {
        whenDue(weight, gradients, 1);
        later.then(() -> order.add("first " + sum(gradients)));
        whenDue(weight, gradients, 10);
        later.then(() -> order.add("second " + sum(gradients)));
      }
      assertThat(sum(gradients)).isEqualTo(900);
      whenDue(weight, gradients, 1000); // no longer postponed

      later.add();

      assertThat(order).containsExactly("first 9909.0", "second 9999.0");
      later.add(); // nothing is left
      assertThat(sum(gradients)).isEqualTo(9999);
    }
  }

  private static void whenDue(Weight weight, Gradients gradients, double value) {
    gradients.whenDue(row(value), row(1), (g, x) -> gradients.addProduct(weight, g, x));
  }

  private static Tensor row(double value) {
    double[] values = new double[WIDTH];
    Arrays.fill(values, value);
    return Tensors.ofDoubles(values, Torch.cpu(), 1, WIDTH).to(Torch.cpu(), ScalarType.Float);
  }

  private static double sum(Gradients gradients) {
    double sum = 0;
    for (float value : Tensors.toFloats(gradients.flat())) {
      sum += value;
    }
    return sum;
  }
}
