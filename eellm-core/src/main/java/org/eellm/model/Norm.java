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

  boolean requiresGrad();

  /** The norm whose parameters begin with {@code name}, where the model has one there. */
  static Norm of(boolean there, Norms norms, Parameters parameters, String name) {
    if (!there) {
      return new None();
    }
    Weight weight = parameters.weight(name + ".weight");
    return switch (norms.kind()) {
      case RMSNORM -> RmsNorm.of(weight, norms);
      case LAYERNORM -> new LayerNorm(weight, parameters.weight(name + ".bias"), norms.epsilon());
    };
  }

  /** No norm: x itself. */
  record None() implements Norm {
    @Override
    public Tensor forward(Tensor x) {
      return x;
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      return g;
    }

    @Override
    public boolean requiresGrad() {
      return false;
    }
  }

  /**
   * {@code x / sqrt(mean(x^2) + epsilon) * weight}.
   *
   * @param parallel the ranks that share its width
   */
  record RmsNorm(Weight weight, double epsilon, boolean zeroCentered, TensorParallel parallel)
      implements Norm {
    private static final long[] LAST = {-1};

    /** One whose width is whole on every rank. */
    static RmsNorm of(Weight weight, Norms norms) {
      return new RmsNorm(
          weight, norms.epsilon(), norms.zeroCentered(), TensorParallel.singleRank());
    }

    @Override
    public boolean requiresGrad() {
      return weight.requiresGrad();
    }

    @Override
    public Tensor forward(Tensor x) {
      if (parallel.size() > 1) {
        try (Scope scope = Scope.open()) {
          Tensor wide = x.to(ScalarType.Float);
          return scope.moveToOuter(wide.mul(inverse(wide)).mul_(scale()).to(x.scalar_type()));
        }
      }
      if (RmsNormalization.fits(x)) {
        return RmsNormalization.forward(x, weight.value(), zeroCentered, epsilon);
      }
      Tensor out = rmsNorm(operand(x), scale());
      return zeroCentered ? out.to(x.scalar_type()) : out;
    }

    /** What rows are multiplied by: in float32 where one is added. */
    private Tensor scale() {
      return zeroCentered
          ? weight.value().to(ScalarType.Float).add(new Scalar(1.0))
          : weight.value();
    }

    /** Rows in the format of {@link #scale}. */
    private Tensor operand(Tensor x) {
      return zeroCentered ? x.to(ScalarType.Float) : x;
    }

    /** {@code 1 / sqrt(mean(x^2) + epsilon)} of float32 rows, [n, 1]. */
    private Tensor inverse(Tensor x) {
      Tensor squares =
          torch
              .linalg_vector_norm(x, Tensors.scalar(2), LAST, true, new ScalarTypeOptional())
              .square_();
      parallel.sum(squares);
      return squares.mul_(new Scalar(share(x))).add_(new Scalar(epsilon)).rsqrt_();
    }

    /** What one number counts in the mean. */
    private double share(Tensor x) {
      return 1.0 / (x.size(1) * parallel.size());
    }

    private Tensor rmsNorm(Tensor x, Tensor scale) {
      return torch.rms_norm(
          x, new long[] {x.size(1)}, new TensorOptional(scale), new DoubleOptional(epsilon));
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      try (Scope scope = Scope.open()) {
        if (parallel.size() == 1 && RmsNormalization.fits(x)) {
          RmsNormalization.Backward backward =
              RmsNormalization.backward(x, weight.value(), zeroCentered, g, epsilon);
          gradients.add(weight, backward.weight());
          return scope.moveToOuter(backward.x());
        }
        if (parallel.size() == 1 && x.is_cuda()) {
          TensorVector both = byLibtorch(x, g);
          gradients.add(weight, both.get(1));
          return scope.moveToOuter(both.get(0).to(x.scalar_type()));
        }
        Tensor wide = x.to(ScalarType.Float); // [n, h]
        Tensor inverse = inverse(wide); // [n, 1]
        Tensor gWide = g.to(ScalarType.Float, false, true, new MemoryFormatOptional()); // a copy
        Tensor product = wide.mul(gWide); // [n, h]
        gradients.add(weight, torch.mm(inverse.t(), product).view(-1));
        Tensor scale = scale().to(ScalarType.Float);
        Tensor along = torch.mm(product, scale.view(-1, 1)); // the gradient's part along x, [n, 1]
        parallel.sum(along);
        along.mul_(inverse.pow(new Scalar(3.0)));
        Tensor out = gWide.mul_(scale).mul_(inverse).addcmul_(wide, along, new Scalar(-share(x)));
        return scope.moveToOuter(out.to(x.scalar_type()));
      }
    }

    /** The gradients of x and weight by libtorch's own backward pass: on a GPU two kernels. */
    TensorVector byLibtorch(Tensor x, Tensor g) {
      Tensor input = operand(x).detach().requires_grad_(true);
      Tensor scale = scale().detach().requires_grad_(true);
      return torch.grad(
          new TensorVector(rmsNorm(input, scale)),
          new TensorVector(input, scale),
          new TensorVector(operand(g)),
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
