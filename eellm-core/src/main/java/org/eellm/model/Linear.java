package org.eellm.model;

import java.util.List;
import java.util.Optional;
import java.util.function.UnaryOperator;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.Learning;
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

  /** What is added to W, where something is. */
  Optional<LowRank> change();

  /** x to x W^T + b, where nothing is dropped. */
  default Tensor forward(Tensor x) {
    return forward(x, UnaryOperator.identity());
  }

  /** x to x W^T + b. */
  default Tensor forward(Tensor x, ForwardContext context) {
    return forward(x, all -> change().map(change -> change.read(all, context)).orElse(all));
  }

  /**
   * x to x W^T + b.
   *
   * @param read gives of all x what the change of W reads
   */
  Tensor forward(Tensor x, UnaryOperator<Tensor> read);

  /** The gradient of x from that of the output, g; weight and bias gradients are added. */
  Tensor backward(Tensor x, Tensor g, ForwardContext context, Gradients gradients);

  /** Adds weight and bias gradients alone; W has no change. */
  void backwardWeights(Tensor x, Tensor g, Gradients gradients);

  /**
   * @param names of the weights that are stacked
   * @param site tells its change's dropout apart
   */
  static Linear column(Parameters parameters, Learning learning, List<String> names, long site) {
    return new Column(
        parameters.weight(names.getFirst()),
        bias(parameters, names.getFirst()),
        LowRank.of(parameters, learning, names, site),
        parameters.tensorParallel());
  }

  /**
   * @param name of the weight
   * @param site tells its change's dropout apart
   */
  static Linear row(Parameters parameters, Learning learning, String name, long site) {
    return new Row(
        parameters.weight(name),
        bias(parameters, name),
        LowRank.of(parameters, learning, List.of(name), site),
        parameters.tensorParallel());
  }

  private static Optional<Weight> bias(Parameters parameters, String firstName) {
    String name = ParameterName.biasOf(firstName);
    return parameters.has(name) ? Optional.of(parameters.weight(name)) : Optional.empty();
  }

  private static Tensor product(Tensor x, Linear map) {
    return map.bias().map(b -> map.weight().times(x, b)).orElseGet(() -> map.weight().times(x));
  }

  private static void addBias(Linear map, Tensor g, Gradients gradients) {
    map.bias().filter(Weight::requiresGrad).ifPresent(b -> gradients.add(b, Reductions.sumRows(g)));
  }

  /** x [local rows, in] to this rank's part of the outputs, [n, out / ranks]. */
  record Column(
      Weight weight, Optional<Weight> bias, Optional<LowRank> change, TensorParallel parallel)
      implements Linear {
    @Override
    public Tensor forward(Tensor x, UnaryOperator<Tensor> read) {
      Tensor all = parallel.gather(x);
      Tensor y = product(all, this);
      change.ifPresent(present -> present.addTo(y, read.apply(all)));
      return y;
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, ForwardContext context, Gradients gradients) {
      if (!weight.requiresGrad()) {
        Tensor gx = torch.mm(g, weight.value());
        change.ifPresent(
            present -> present.backward(gx, parallel.gather(x), g, context, gradients));
        return parallel.reduce(gx);
      }
      if (gradients.postpones()) {
        backwardWeights(x, g, gradients);
        return parallel.reduce(torch.mm(g, weight.value()));
      }
      // Each product hides a collective.
      Joint all = parallel.startGather(x);
      Joint sum = parallel.startReduce(torch.mm(g, weight.value()));
      gradients.addProduct(weight, g, all.await());
      addBias(this, g, gradients);
      return sum.await();
    }

    @Override
    public void backwardWeights(Tensor x, Tensor g, Gradients gradients) {
      gradients.whenDue(
          g, x, (above, below) -> gradients.addProduct(weight, above, parallel.gather(below)));
      addBias(this, g, gradients);
    }
  }

  /** This rank's part of the inputs, [n, in / ranks], to all outputs, [local rows, out]. */
  record Row(
      Weight weight, Optional<Weight> bias, Optional<LowRank> change, TensorParallel parallel)
      implements Linear {
    @Override
    public Tensor forward(Tensor x, UnaryOperator<Tensor> read) {
      Tensor part = parallel.size() == 1 ? product(x, this) : weight.times(x);
      change.ifPresent(present -> present.addTo(part, read.apply(x)));
      if (parallel.size() == 1) {
        return part;
      }
      Tensor y = parallel.reduce(part);
      return bias.isPresent() ? y.add_(bias.get().value()) : y;
    }

    @Override
    public Tensor backward(Tensor x, Tensor g, ForwardContext context, Gradients gradients) {
      Tensor all = parallel.gather(g);
      if (gradients.postpones()) { // With this rank's rows, which are gathered again.
        backwardWeights(x, g, gradients);
      } else {
        gradients.addProduct(weight, all, x);
        addBias(this, g, gradients);
      }
      Tensor gx = torch.mm(all, weight.value());
      change.ifPresent(present -> present.backward(gx, x, all, context, gradients));
      return gx;
    }

    @Override
    public void backwardWeights(Tensor x, Tensor g, Gradients gradients) {
      gradients.whenDue(
          g, x, (above, below) -> gradients.addProduct(weight, parallel.gather(above), below));
      addBias(this, g, gradients);
    }
  }
}
