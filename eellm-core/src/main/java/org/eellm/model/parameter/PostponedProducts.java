package org.eellm.model.parameter;

import java.util.ArrayDeque;
import java.util.Deque;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;

/**
 * Gradients of matrices that a backward pass has left for later, in its order: nobody waits for
 * them, while the stage before waits for the gradient of its output (zero bubble, arXiv
 * 2401.10241). Both factors of each stay in memory until then.
 */
public final class PostponedProducts implements AutoCloseable {

  /** What is left to do. */
  private sealed interface Step {
    /** {@code g^T x}; {@code retained} owns both. */
    record Product(Weight weight, Tensor g, Tensor x, RetainedTensors retained) implements Step {}

    record Then(Runnable task) implements Step {}
  }

  private final Deque<Step> steps = new ArrayDeque<>();

  void add(Weight weight, Tensor g, Tensor x) {
    RetainedTensors retained = new RetainedTensors();
    steps.add(new Step.Product(weight, retained.retain(g), retained.retain(x), retained));
  }

  /** Runs a task once what was added before is in the gradients. */
  public void then(Runnable task) {
    steps.add(new Step.Then(task));
  }

  /** Adds them, and frees each factor as soon as it is of no use. */
  public void addTo(Gradients gradients) {
    while (!steps.isEmpty()) {
      switch (steps.remove()) {
        case Step.Product(Weight weight, Tensor g, Tensor x, RetainedTensors retained) -> {
          try (Scope _ = Scope.open();
              retained) {
            gradients.addProductNow(weight, g, x);
          }
        }
        case Step.Then(Runnable task) -> task.run();
      }
    }
  }

  @Override
  public void close() {
    for (Step step : steps) {
      if (step instanceof Step.Product product) {
        product.retained().close();
      }
    }
    steps.clear();
  }
}
