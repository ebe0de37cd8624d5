package org.eellm.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.eellm.config.Learning;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.ParameterName;
import org.eellm.model.parameter.Parameters;
import org.eellm.model.parameter.Weight;
import org.eellm.tensor.Scope;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * Low-rank changes of linear maps that are stacked (LoRA, arXiv 2106.09685): to the outputs of each
 * of k maps they add {@code scale * B A dropout(x)}. All k read the same dropped x.
 *
 * <p>Of matrices that ranks share out, A or B is shared out alike, and what is added, the gradient
 * of x and those of the factor that is not shared out are this rank's part of the ranks' sum.
 *
 * @param in the k A stacked, [k r, in]
 * @param outs one for each map
 * @param site tells its dropout apart
 */
record LowRank(Weight in, List<Out> outs, double scale, double dropout, long site) {

  /**
   * B of a map.
   *
   * @param weight [out, r]
   * @param first the map's first among the stacked outputs
   */
  record Out(Weight weight, long first) {
    /** The map's columns of the stacked outputs, a view. */
    private Tensor of(Tensor outputs) {
      return outputs.narrow(1, first, weight.value().size(0));
    }
  }

  /**
   * The changes of stacked maps, where there are any.
   *
   * @param weights names of the maps' weights
   * @param site tells these maps apart
   */
  static Optional<LowRank> of(
      Parameters parameters, Learning learning, List<String> weights, long site) {
    if (!(learning instanceof Learning.Adapter(var lora))) {
      return Optional.empty();
    }
    List<Out> outs = new ArrayList<>();
    Optional<Weight> in = Optional.empty();
    long first = 0;
    for (String weight : weights) {
      String out = ParameterName.lowRankOut(weight);
      if (parameters.has(out)) {
        outs.add(new Out(parameters.weight(out), first));
        in = in.or(() -> Optional.of(parameters.weight(ParameterName.lowRankIn(weight))));
      }
      first += parameters.get(weight).shape()[0];
    }
    return in.map(found -> new LowRank(found, outs, lora.scale(), lora.dropout(), site));
  }

  /** What the changes read of x [n, in] in a pass. */
  Tensor read(Tensor x, ForwardContext context) {
    return dropout(context).map(keyed -> keyed.of(x)).orElse(x);
  }

  private Optional<KeyedDropout> dropout(ForwardContext context) {
    return context.ofRows(dropout, site);
  }

  /**
   * Adds the changes to the maps' outputs.
   *
   * @param y [n, all out]
   * @param read of x, [n, in]
   */
  void addTo(Tensor y, Tensor read) {
    try (Scope _ = Scope.open()) {
      Tensor inner = torch.linear(read, in.value()); // [n, k r]
      for (int i = 0; i < outs.size(); i++) {
        Out out = outs.get(i);
        out.of(y).addmm_(part(inner, i), out.weight().value().t(), new Scalar(1), factor());
      }
    }
  }

  /**
   * Adds to the gradient of x, and to those of the factors.
   *
   * @param gx [n, in]
   * @param x as given to {@link #read}
   * @param g of the maps' outputs, [n, all out]
   */
  void backward(Tensor gx, Tensor x, Tensor g, ForwardContext context, Gradients gradients) {
    try (Scope _ = Scope.open()) {
      Tensor read = read(x, context);
      Tensor inner = torch.linear(read, in.value()).mul_(factor());
      TensorVector parts = new TensorVector();
      for (int i = 0; i < outs.size(); i++) {
        Out out = outs.get(i);
        parts.push_back(torch.mm(out.of(g), out.weight().value()));
        gradients.addProduct(out.weight(), out.of(g), part(inner, i));
      }
      Tensor gInner = torch.cat(parts, 1).mul_(factor()); // [n, k r]
      gradients.addProduct(in, gInner, read);
      Optional<KeyedDropout> dropped = dropout(context);
      if (dropped.isPresent()) {
        Tensor gRead = torch.mm(gInner, in.value());
        dropped.get().applyTo(gRead);
        gx.add_(gRead);
      } else {
        gx.addmm_(gInner, in.value());
      }
    }
  }

  /** The columns of a map's rank. */
  private Tensor part(Tensor inner, int i) {
    long rank = inner.size(1) / outs.size();
    return inner.narrow(1, i * rank, rank);
  }

  private Scalar factor() {
    return new Scalar(scale);
  }
}
