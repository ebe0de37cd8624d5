package org.eellm.tensor;

import org.bytedeco.pytorch.Tensor;

/**
 * A tensor handed on from scope to scope, such as the stream or its gradient; a new one frees its
 * predecessor.
 */
public final class Carried implements AutoCloseable {
  private Kept kept = new Kept();
  private Tensor value;

  public Carried(Tensor value) {
    this.value = kept.keep(value);
  }

  /** The tensor in hand. */
  public Tensor get() {
    return value;
  }

  /** Takes {@code next} in hand and lets go of the present one. */
  public void set(Tensor next) {
    Kept previous = kept;
    kept = new Kept();
    value = kept.keep(next);
    previous.close();
  }

  @Override
  public void close() {
    kept.close();
  }
}
