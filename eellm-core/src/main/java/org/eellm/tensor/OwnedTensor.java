package org.eellm.tensor;

import org.bytedeco.pytorch.Tensor;

/**
 * A tensor handed on from scope to scope, such as the stream or its gradient; a new one frees its
 * predecessor.
 */
public final class OwnedTensor implements AutoCloseable {
  private RetainedTensors retained = new RetainedTensors();
  private Tensor value;

  public OwnedTensor(Tensor value) {
    this.value = retained.retain(value);
  }

  public Tensor get() {
    return value;
  }

  /** Takes {@code next} in hand and lets go of the present one. */
  public void set(Tensor next) {
    RetainedTensors previous = retained;
    retained = new RetainedTensors();
    value = retained.retain(next);
    previous.close();
  }

  @Override
  public void close() {
    retained.close();
  }
}
