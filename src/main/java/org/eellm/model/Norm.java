package org.eellm.model;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/** Normalisation over the hidden dimension; statistics in float32. */
sealed interface Norm {

  /** x [n, hidden] to the same shape and format. */
  Tensor forward(Tensor x);

  /**
   * The gradient of x from that of the output, g, both [n, hidden]; parameter gradients are added.
   */
  Tensor backward(Tensor x, Tensor g, Gradients gradients);

  /** The norm whose parameters begin with {@code name}. */
  static Norm of(ModelConfig model, Parameters parameters, String name) {
    Weight weight = parameters.weight(name + ".weight");
    return switch (model.normalization()) {
      case RMSNORM -> new RmsNorm(weight, model.normEpsilon());
      case LAYERNORM ->
          new LayerNorm(weight, parameters.weight(name + ".bias"), model.normEpsilon());
    };
  }

  /** {@code x / sqrt(mean(x^2) + epsilon) * weight}. */
  record RmsNorm(Weight weight, double epsilon) implements Norm {
    private static final long[] LAST = {-1};

    @Override
    public Tensor forward(Tensor x) {
      return torch.rms_norm(
          x,
          new long[] {x.size(1)},
          new TensorOptional(weight.value()),
          new DoubleOptional(epsilon));
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      try (Scope scope = Scope.open()) {
        ScalarType type = x.scalar_type();
        Tensor wide = x.to(ScalarType.Float); // [n, h]
        Tensor norm =
            torch.linalg_vector_norm(
                wide, Tensors.scalar(2), LAST, true, new ScalarTypeOptional(ScalarType.Float));
        Tensor inverse = // 1 / sqrt(mean(x^2) + epsilon), [n, 1]
            norm.square_().mul_(new Scalar(1.0 / x.size(1))).add_(new Scalar(epsilon)).rsqrt_();
        Tensor normalized = wide.mul(inverse);
        Tensor product = normalized.mul(g); // [n, h]
        gradients.add(weight, Reductions.sumRows(product));
        Tensor scaled = product.mul_(weight.value()); // its mean is the gradient along x
        Tensor mean = Reductions.sumLast(scaled).mul_(new Scalar(1.0 / x.size(1))); // [n, 1]
        Tensor out = g.to(ScalarType.Float).mul(weight.value());
        out.addcmul_(normalized, mean, new Scalar(-1.0)).mul_(inverse);
        return scope.pass(out.to(type));
      }
    }
  }

  /** {@code (x - mean) / sqrt(variance + epsilon) * weight + bias}. */
  record LayerNorm(Weight weight, Weight bias, double epsilon) implements Norm {
    @Override
    public Tensor forward(Tensor x) {
      try (Scope scope = Scope.open()) {
        return scope.pass(statistics(x).get0());
      }
    }

    private T_TensorTensorTensor_T statistics(Tensor x) {
      return torch.native_layer_norm(
          x,
          new long[] {x.size(1)},
          new TensorOptional(weight.value()),
          new TensorOptional(bias.value()),
          epsilon);
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      try (Scope scope = Scope.open();
          BoolPointer all = new BoolPointer(3)) {
        all.put(0, true).put(1, true).put(2, true);
        T_TensorTensorTensor_T statistics = statistics(x);
        T_TensorTensorTensor_T out =
            torch.native_layer_norm_backward(
                g,
                x,
                new long[] {x.size(1)},
                statistics.get1(),
                statistics.get2(),
                new TensorOptional(weight.value()),
                new TensorOptional(bias.value()),
                all);
        gradients.add(weight, out.get1());
        gradients.add(bias, out.get2());
        return scope.pass(out.get0());
      }
    }
  }
}
