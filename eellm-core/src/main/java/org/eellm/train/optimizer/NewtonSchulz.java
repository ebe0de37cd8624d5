package org.eellm.train.optimizer;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.OwnedTensor;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Matrices with all singular values near 1: of {@code G = U S V^T} about {@code U V^T}. An odd
 * polynomial of a matrix, {@code a X + b X X^T X + c (X X^T)^2 X}, is one of its singular values
 * (Newton-Schulz iteration), and takes matrix products alone.
 *
 * <p>Of all polynomials, the first is that which brings the values from a least one to 1 nearest to
 * 1, the second does so with what the first leaves, and so on, which no other three can better
 * (Polar Express, arXiv 2505.16932). Three are as near as Muon's five of one kind (Jordan 2024):
 * values from 0.02 on come to 0.9 to 1.1, smaller ones to less.
 */
final class NewtonSchulz {

  /**
   * A polynomial's coefficients, of a matrix divided by {@code margin}: rounding may have left it a
   * little larger than it should be, where the polynomial is steep.
   */
  private record Quintic(double a, double b, double c, double margin) {

    /** Of matrices and their products with themselves, {@code X X^T}. */
    Tensor of(Tensor x, Tensor gram) {
      try (Scope scope = Scope.open()) {
        Scalar second = new Scalar(b / Math.pow(margin, 3));
        Scalar third = new Scalar(c / Math.pow(margin, 5));
        Tensor factor = torch.baddbmm(gram, gram, gram, second, third);
        return scope.moveToOuter(
            torch.baddbmm(x, factor, x, new Scalar(a / margin), new Scalar(1.0)));
      }
    }
  }

  private static final List<Quintic> STEPS =
      List.of(
          new Quintic(7.7110, -22.1138, 16.2487, 1.02),
          new Quintic(3.2153, -2.4112, 0.5013, 1.01),
          new Quintic(2.2183, -1.5940, 0.4107, 1));

  /** Keeps a matrix of zeros from being divided by 0. */
  private static final double TINY = 1e-30;

  private NewtonSchulz() {}

  /** How many polynomials there are, of three products each. */
  static int steps() {
    return STEPS.size();
  }

  /**
   * Orthogonalises matrices of one shape.
   *
   * @param matrices [count, out, in], in the format to compute in
   * @return likewise
   */
  static Tensor of(Tensor matrices) {
    boolean tall = matrices.size(1) > matrices.size(2);
    try (Scope scope = Scope.open();
        OwnedTensor x = new OwnedTensor(tall ? transposed(matrices).contiguous() : matrices)) {
      for (int i = 0; i < STEPS.size(); i++) {
        try (Scope _ = Scope.open()) {
          Tensor gram = torch.bmm(x.get(), transposed(x.get()));
          if (i == 0) {
            Tensor square = square(gram);
            x.set(x.get().div(square.sqrt()));
            gram = gram.div(square);
          }
          x.set(STEPS.get(i).of(x.get(), gram));
        }
      }
      return scope.moveToOuter(tall ? transposed(x.get()) : x.get());
    }
  }

  private static Tensor transposed(Tensor matrices) {
    return matrices.transpose(1, 2);
  }

  /**
   * The square of a bound of the largest singular value: the fourth root of the sum of their fourth
   * powers, which comes nearer to it than Frobenius' norm.
   *
   * @param gram {@code X X^T}
   * @return [count, 1, 1]
   */
  private static Tensor square(Tensor gram) {
    try (Scope scope = Scope.open()) {
      Tensor norm =
          torch.linalg_vector_norm(
              gram,
              new Scalar(2.0),
              new long[] {1, 2},
              true,
              new ScalarTypeOptional(ScalarType.Float));
      return scope.moveToOuter(norm.add_(new Scalar(TINY)).to(Tensors.scalarType(gram)));
    }
  }
}
