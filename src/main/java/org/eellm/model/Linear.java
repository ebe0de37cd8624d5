package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;

/** {@code y = x W^T + b}, with W [out, in]. */
record Linear(Weight weight, Optional<Weight> bias) {

  static Linear of(Parameters parameters, String firstName) {
    String biasName = firstName.replaceAll("weight$", "bias");
    return new Linear(
        parameters.weight(firstName),
        parameters.has(biasName) ? Optional.of(parameters.weight(biasName)) : Optional.empty());
  }

  /** x [n, in] to [n, out]. */
  Tensor forward(Tensor x) {
    return bias.isPresent()
        ? torch.linear(x, weight.value(), new TensorOptional(bias.get().value()))
        : torch.linear(x, weight.value());
  }

  /**
   * The gradient of x, [n, in], from that of the output, g [n, out]; weight and bias gradients are
   * added.
   */
  Tensor backward(Tensor x, Tensor g, Gradients gradients) {
    gradients.addProduct(weight, g, x);
    bias.ifPresent(b -> gradients.add(b, Reductions.sumRows(g)));
    return torch.mm(g, weight.value());
  }
}
