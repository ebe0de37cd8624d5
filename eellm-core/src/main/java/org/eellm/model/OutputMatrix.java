package org.eellm.model;

import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.eellm.config.ModelConfig;
import org.eellm.model.parameter.Weight;

/**
 * What makes a head's logits of its normed hidden state h: {@code cap(scale h W^T)}.
 *
 * @param weight W, [vocabulary, hidden], or this rank's rows of it
 * @param parallel the ranks that share it
 */
public record OutputMatrix(Weight weight, TensorParallel parallel, double scale, SoftCap cap) {

  static OutputMatrix of(ModelConfig model, Weight weight, TensorParallel parallel) {
    return new OutputMatrix(
        weight, parallel, model.logitScale(), new SoftCap(model.logitSoftcap()));
  }

  /** Logits of h [n, hidden]: [n, vocabulary], or this rank's columns. */
  public Tensor logits(Tensor h) {
    return logits(operand(h, 1), 1);
  }

  /**
   * What W multiplies where logits are divided by a temperature.
   *
   * @param h [n, hidden]
   */
  public Tensor operand(Tensor h, double temperature) {
    double factor = factor(temperature);
    return factor == 1 ? h : h.mul(new Scalar(factor));
  }

  /** What {@link #operand} multiplies by: all that can be done before the product. */
  public double factor(double temperature) {
    return cap.isActive() ? scale : scale / temperature;
  }

  /** Logits divided by a temperature, [n, vocabulary], or this rank's columns. */
  public Tensor logits(Tensor operand, double temperature) {
    Tensor logits = cap.applyTo(weight.times(operand));
    return cap.isActive() && temperature != 1 ? logits.div_(new Scalar(temperature)) : logits;
  }

  /**
   * What the gradient of such logits is multiplied by before it goes back through W; absent where
   * that is 1.
   */
  public Optional<Tensor> slope(Tensor logits, double temperature) {
    return cap.isActive()
        ? Optional.of(
            new SoftCap(cap.limit() / temperature).slope(logits).div_(new Scalar(temperature)))
        : Optional.empty();
  }
}
