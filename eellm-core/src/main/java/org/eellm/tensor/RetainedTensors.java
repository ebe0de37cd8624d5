package org.eellm.tensor;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * Native objects that outlive the scope they were born in, until this closes. What a forward pass
 * keeps for the backward pass lives in one of these, so that it is freed as the backward pass
 * proceeds.
 */
public final class RetainedTensors implements AutoCloseable {
  private final List<Tensor> tensors = new ArrayList<>();

  /** Keeps {@code tensors} alive: see {@link #retain}. */
  public RetainedTensors(Tensor... tensors) {
    for (Tensor tensor : tensors) {
      retain(tensor);
    }
  }

  /**
   * Keeps {@code tensor} alive until {@link #close}.
   *
   * @return the tensor to go on with
   */
  public Tensor retain(Tensor tensor) {
    Tensor owned = Scope.owned(tensor);
    owned.retainReference();
    tensors.add(owned);
    return owned;
  }

  @Override
  public void close() {
    tensors.forEach(Tensor::releaseReference);
    tensors.clear();
  }
}
