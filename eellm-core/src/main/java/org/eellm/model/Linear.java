package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.model.TensorParallel.Joint;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Weight;

/**
 * {@code y = x W^T + b}, with W [out, in], of which tensor-parallel ranks hold parts: {@link
 * Column} splits the outputs, {@link Row} the inputs. A column-parallel map, something by element,
 * and a row-parallel map need one collective in front and one behind (Megatron-LM, arXiv
 * 1909.08053).
 */
public sealed interface Linear {

  /** W, [out, in], or this rank's part of it. */
  Weight weight();

  /** b, [out], or this rank's part of it. */
  Optional<Weight> bias();

  /** x to x W^T + b. */
  Tensor forward(Tensor x);

  /**
   * The gradient of x from that of the output, g; weight and bias gradients are added.
   *
   * @param x as given to forward
   */
  Tensor backward(Tensor x, Tensor g, Gradients gradients);

  /** Adds weight and bias gradients alone. */
  void backwardWeights(Tensor x, Tensor g, Gradients gradients);

  static Linear column(Parameters parameters, String firstName) {
    return new Column(
        parameters.weight(firstName), bias(parameters, firstName), parameters.tensorParallel());
  }

  static Linear row(Parameters parameters, String firstName) {
    return new Row(
        parameters.weight(firstName), bias(parameters, firstName), parameters.tensorParallel());
  }

  private static Optional<Weight> bias(Parameters parameters, String firstName) {
    String name = ParameterName.biasOf(firstName);
    return parameters.has(name) ? Optional.of(parameters.weight(name)) : Optional.empty();
  }

  private static Tensor product(Tensor x, Linear map) {
    return map.bias().map(b -> map.weight().times(x, b)).orElseGet(() -> map.weight().times(x));
  }

  /** x [local rows, in] to this rank's part of the outputs, [n, out / ranks]. */
  record Column(Weight weight, Optional<Weight> bias, TensorParallel parallel) implements Linear {
    @Override
    public Tensor forward(Tensor x) {
      return product(parallel.gather(x), this);
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      if (gradients.postpones()) {
        backwardWeights(x, g, gradients);
        return parallel.reduce(torch.mm(g, weight.value()));
      }
      // Each product hides a collective.
      Joint all = parallel.startGather(x);
      Joint sum = parallel.startReduce(torch.mm(g, weight.value()));
      gradients.addProduct(weight, g, all.await());
      addBias(g, gradients);
      return sum.await();
    }

    @Override
    public void backwardWeights(Tensor x, Tensor g, Gradients gradients) {
      gradients.whenDue(
          g, x, (above, below) -> gradients.addProduct(weight, above, parallel.gather(below)));
      addBias(g, gradients);
    }

    private void addBias(Tensor g, Gradients gradients) {
      bias.ifPresent(b -> gradients.add(b, Reductions.sumRows(g)));
    }
  }

  /** This rank's part of the inputs, [n, in / ranks], to all outputs, [local rows, out]. */
  record Row(Weight weight, Optional<Weight> bias, TensorParallel parallel) implements Linear {
    @Override
    public Tensor forward(Tensor x) {
      if (parallel.size() == 1) {
        return product(x, this);
      }
      Tensor y = parallel.reduce(weight.times(x));
      return bias.isPresent() ? y.add_(bias.get().value()) : y;
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, Gradients gradients) {
      Tensor all = parallel.gather(g);
      if (gradients.postpones()) { // With this rank's rows, which are gathered again.
        backwardWeights(x, g, gradients);
      } else {
        gradients.addProduct(weight, all, x);
        addBias(g, gradients);
      }
      return torch.mm(all, weight.value());
    }

    @Override
    public void backwardWeights(Tensor x, Tensor g, Gradients gradients) {
      gradients.whenDue(
          g, x, (above, below) -> gradients.addProduct(weight, parallel.gather(above), below));
      addBias(g, gradients);
    }

    private void addBias(Tensor g, Gradients gradients) {
      bias.ifPresent(b -> gradients.add(b, Reductions.sumRows(g)));
    }
  }
}
