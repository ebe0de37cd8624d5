package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.Gradients;
import org.eellm.model.parameter.Parameters;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.kernel.KeyedDropout;

/**
 * What a branch's output, [rows, hidden], goes through before it joins the stream: a norm, where
 * the model has one there, a factor and dropout.
 *
 * @param site tells its dropout apart
 */
record BranchEnd(Norm norm, double factor, double dropout, long site) {

  /**
   * What {@link #backward} needs.
   *
   * @param output of the branch, where a norm reads it
   */
  record Saved(Optional<Tensor> output) {}

  static BranchEnd of(ModelConfig model, Parameters parameters, String norm, long site) {
    return new BranchEnd(
        Norm.of(model.normPlacement().after(), model.norms(), parameters, norm),
        model.residualScale(),
        model.hiddenDropout(),
        site);
  }

  /** What joins the stream, perhaps in the memory of {@code output}. */
  Tensor forward(Tensor output, ForwardContext context) {
    Tensor delta = generate(output);
    dropout(context).ifPresent(keyed -> keyed.applyTo(delta));
    return delta;
  }

  /** The same in generation, where nothing is dropped. */
  Tensor generate(Tensor output) {
    Tensor normed = norm.forward(output);
    return factor == 1 ? normed : normed.mul_(new Scalar(factor));
  }

  /** Keeps what the backward pass needs of the output. */
  Saved save(Tensor output, RetainedTensors retained) {
    return new Saved(
        norm instanceof Norm.None ? Optional.empty() : Optional.of(retained.retain(output)));
  }

  /** The gradient of the output from that of what joins the stream. */
  Tensor backward(Saved saved, Tensor gradient, ForwardContext context, Gradients gradients) {
    Tensor dropped = dropout(context).map(keyed -> keyed.of(gradient)).orElse(gradient);
    Tensor g = factor == 1 ? dropped : dropped.mul(new Scalar(factor));
    return saved.output().map(output -> norm.backward(output, g, gradients)).orElse(g);
  }

  private Optional<KeyedDropout> dropout(ForwardContext context) {
    return context.ofRows(dropout, site);
  }
}
