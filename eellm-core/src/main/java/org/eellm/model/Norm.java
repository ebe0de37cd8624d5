package org.eellm.model;

import org.bytedeco.javacpp.BoolPointer;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.T_TensorTensorTensor_T;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.config.ModelConfig.Norms;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.kernel.RmsNormalization;

/** Normalisation over the hidden dimension; statistics in float32. */
public sealed interface Norm {

  /** x [n, hidden] to the same shape and format. */
  Tensor forward(Tensor x);

  /**
   * The gradient of x from that of the output, g, both [n, hidden]; parameter gradients are added.
   */
  Tensor backward(Tensor x, Tensor g, Gradients gradients);

  /** Whether its parameters learn. */
  boolean requiresGrad();

  /** The norm whose parameters begin with {@code name}. */
  static Norm of(Norms norms, Parameters parameters, String name) {
    Weight weight = parameters.weight(name + ".weight");
    return switch (norms.kind()) {
      case RMSNORM -> new RmsNorm(weight, norms.epsilon());
      case LAYERNORM -> new LayerNorm(weight, parameters.weight(name + ".bias"), norms.epsilon());
    };
  }

  /** {@code x / sqrt(mean(x^2) + epsilon) * weight}. */
  record RmsNorm(Weight weight, double epsilon) implements Norm {
    private static final long[] LAST = {-1};

    @Override
    public boolean requiresGrad() {
      return weight.requiresGrad();
    }

    @Override
    public Tensor forward(Tensor x) {
      if (RmsNormalization.fits(x)) {
        return RmsNormalization.forward(x, weight.value(), epsilon);
      }
      return torch.rms_norm(
          x,
          new long[] {x.size(1)},
          new TensorOptional(weight.value()),
          new DoubleOptional(epsilon));
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      try (Scope scope = Scope.open()) {
        if (RmsNormalization.fits(x)) {
          RmsNormalization.Backward backward =
              RmsNormalization.backward(x, weight.value(), g, epsilon);
          gradients.add(weight, backward.weight());
          return scope.moveToOuter(backward.x());
        }
        if (x.is_cuda()) {
          TensorVector both = byLibtorch(x, g);
          gradients.add(weight, both.get(1));
          return scope.moveToOuter(both.get(0));
        }
        double share = 1.0 / x.size(1);
        Tensor wide = x.to(ScalarType.Float); // [n, h]
        Tensor inverse = // 1 / sqrt(mean(x^2) + epsilon), [n, 1]
            torch
                .linalg_vector_norm(wide, Tensors.scalar(2), LAST, true, new ScalarTypeOptional())
                .square_()
                .mul_(new Scalar(share))
                .add_(new Scalar(epsilon))
                .rsqrt_();
        Tensor gWide = g.to(ScalarType.Float, false, true, new MemoryFormatOptional()); // a copy
        Tensor product = wide.mul(gWide); // [n, h]
        gradients.add(weight, torch.mm(inverse.t(), product).view(-1));
        Tensor scale = weight.value().to(ScalarType.Float);
        Tensor along = // the part of the gradient along x, [n, 1]
            torch.mm(product, scale.view(-1, 1)).mul_(inverse.pow(new Scalar(3.0)));
        Tensor out = gWide.mul_(scale).mul_(inverse).addcmul_(wide, along, new Scalar(-share));
        return scope.moveToOuter(out.to(x.scalar_type()));
      }
    }

    /** The gradients of x and weight by libtorch's own backward pass: on a GPU two kernels. */
    TensorVector byLibtorch(Tensor x, Tensor g) {
      Tensor input = x.detach().requires_grad_(true);
      Tensor scale = weight.value().detach().requires_grad_(true);
      Tensor out =
          torch.rms_norm(
              input,
              new long[] {x.size(1)},
              new TensorOptional(scale),
              new DoubleOptional(epsilon));
      return torch.grad(
          new TensorVector(out),
          new TensorVector(input, scale),
          new TensorVector(g),
          new BoolOptional(),
          false,
          false);
    }
  }

  /** {@code (x - mean) / sqrt(variance + epsilon) * weight + bias}. */
  record LayerNorm(Weight weight, Weight bias, double epsilon) implements Norm {
    @Override
    public boolean requiresGrad() {
      return weight.requiresGrad();
    }

    @Override
    public Tensor forward(Tensor x) {
      try (Scope scope = Scope.open()) {
        return scope.moveToOuter(statistics(x).get0());
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
        return scope.moveToOuter(out.get0());
      }
    }
  }
}
