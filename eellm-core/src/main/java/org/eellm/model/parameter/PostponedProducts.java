package org.eellm.model.parameter;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.function.BiConsumer;
import org.bytedeco.pytorch.Tensor;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;

/**
 * Gradients of matrices that a backward pass has left for later, in its order: nobody waits for
 * them, while the stage before waits for the gradient of its output (zero bubble, arXiv
 * 2401.10241). Both factors of each stay in memory until then.
 */
public final class PostponedProducts implements AutoCloseable {

  /** A product that is left to do, or a task to run behind those before it. */
  private sealed interface Step {
    /** A product; {@code retained} owns both factors. */
    record Product(
        Tensor g, Tensor x, BiConsumer<Tensor, Tensor> multiply, RetainedTensors retained)
        implements Step {}

    record Then(Runnable task) implements Step {}
  }

  private final Deque<Step> steps = new ArrayDeque<>();

  void add(Tensor g, Tensor x, BiConsumer<Tensor, Tensor> multiply) {
    RetainedTensors retained = new RetainedTensors();
    steps.add(new Step.Product(retained.retain(g), retained.retain(x), multiply, retained));
  }

  /** Runs a task once what was added before is in the gradients. */
  public void then(Runnable task) {
    steps.add(new Step.Then(task));
  }

  /** Adds them to the gradients, and frees each factor as soon as it is of no use. */
  public void add() {
    while (!steps.isEmpty()) {
      switch (steps.remove()) {
        case Step.Product(
                Tensor g,
                Tensor x,
                BiConsumer<Tensor, Tensor> multiply,
                RetainedTensors retained) -> {
          try (Scope _ = Scope.open();
              retained) {
            multiply.accept(g, x);
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
