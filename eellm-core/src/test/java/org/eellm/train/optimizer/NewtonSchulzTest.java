package org.eellm.train.optimizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.DoubleStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.StringViewOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.cost.MuonCosts;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Against libtorch's singular value decomposition in float64. */
final class NewtonSchulzTest {

  /** Two matrices whose singular values go down to a twentieth of the largest. */
  private static Tensor matrices(int out, int in) {
    torch.manual_seed(1);
    Tensor matrices = torch.randn(2, out, in).to(ScalarType.Double);
    var parts = torch.linalg_svd(matrices, false, new StringViewOptional());
    Tensor values =
        torch
            .linspace(new Scalar(1.0), new Scalar(0.05), Math.min(out, in))
            .to(ScalarType.Double)
            .unsqueeze(0)
            .mul(Tensors.ofDoubles(new double[] {3e-4, 50}, Torch.cpu(), 2, 1));
    return parts.get0().mul(values.unsqueeze(1)).bmm(parts.get2());
  }

  @ParameterizedTest
  @CsvSource({
    "24, 24, Float, 1e-4",
    "24, 60, Float, 1e-4",
    "60, 24, Float, 1e-4",
    "48, 96, BFloat16, 4e-2",
    "96, 48, BFloat16, 4e-2"
  })
  void of_matrices_keepsTheirDirectionsAndMakesThemEquallyLarge(
      int out, int in, ScalarType type, double tolerance) {
    try (Scope _ = Scope.open()) {
      Tensor matrices = matrices(out, in);
      var parts = torch.linalg_svd(matrices, false, new StringViewOptional());

      Tensor made = NewtonSchulz.of(matrices.to(type)).to(ScalarType.Double);

      // U^T made V is diagonal, with the new singular values.
      Tensor rotated = parts.get0().transpose(1, 2).bmm(made).bmm(parts.get2().transpose(1, 2));
      Tensor values = rotated.diagonal(0, 1, 2);
      assertThat(DoubleStream.of(Tensors.toDoubles(values)).boxed())
          .allSatisfy(x -> assertThat(x).isBetween(0.85, 1.15));
      Tensor beside = rotated.sub(torch.diag_embed(values));
      assertThat(beside.abs().max().item_double()).isLessThan(tolerance);
      Tensor back = parts.get0().bmm(rotated).bmm(parts.get2());
      assertThat(made.sub(back).abs().max().item_double()).isLessThan(tolerance);
    }
  }

  @Test
  void steps_areAsManyAsThePlannerCounts() {
    assertThat(NewtonSchulz.steps()).isEqualTo(MuonCosts.POLYNOMIALS);
  }

  @ParameterizedTest
  @CsvSource({"Float", "BFloat16"})
  void of_zeros_isZeros(ScalarType type) {
    try (Scope _ = Scope.open()) {
      Tensor made = NewtonSchulz.of(Tensors.zeros(type, Torch.cpu(), 1, 3, 5));
      assertThat(Tensors.toFloats(made)).containsOnly(0);
    }
  }
}
