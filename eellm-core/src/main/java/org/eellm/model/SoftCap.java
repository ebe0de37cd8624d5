package org.eellm.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * {@code c tanh(x / c)}: keeps scores or logits between -c and c, and small ones nearly as they are
 * (Gemma 2, arXiv 2408.00118).
 *
 * @param limit c; 0 leaves all as they are
 */
public record SoftCap(double limit) {

  /** Whether anything is capped. */
  public boolean isActive() {
    return limit > 0;
  }

  /** Caps {@code x} in place. */
  public Tensor applyTo(Tensor x) {
    return isActive() ? x.mul_(new Scalar(1 / limit)).tanh_().mul_(new Scalar(limit)) : x;
  }

  /** The derivative where it gave {@code capped}: {@code 1 - (capped / c)^2}. */
  Tensor slope(Tensor capped) {
    return capped.mul(new Scalar(1 / limit)).square_().neg_().add_(new Scalar(1.0));
  }
}
