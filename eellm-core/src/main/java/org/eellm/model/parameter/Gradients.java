package org.eellm.model.parameter;

import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.eellm.tensor.RetainedTensors;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;

/**
 * Float32 gradients of all parameters that learn in one flat buffer, summed over the microbatches
 * of a step; what is added for others is dropped. The first contribution of a step overwrites, so
 * that nothing has to be zeroed.
 */
public final class Gradients implements AutoCloseable {
  /** Products in a narrow format are of so many rows or bytes at least. */
  private static final long BLOCK_ROWS = 1024;

  private static final long BLOCK_BYTES = 2L << 20;

  private final RetainedTensors retained = new RetainedTensors();
  private final Tensor flat;
  private final Tensor[] views;
  private final boolean[] written;
  private final boolean float32;
  private Optional<PostponedProducts> postponed = Optional.empty();

  public Gradients(Parameters parameters) {
    List<Weight> weights = parameters.weights();
    views = new Tensor[weights.size()];
    written = new boolean[weights.size()];
    float32 = Tensors.scalarType(parameters.flat()) == ScalarType.Float;
    try (Scope scope = Scope.open()) {
      flat =
          retained.retain(
              Tensors.zeros(
                  ScalarType.Float, parameters.flat().device(), parameters.flat().numel()));
      for (Weight weight : weights) {
        Tensor value = weight.value();
        views[weight.index()] =
            retained.retain(flat.narrow(0, weight.offset(), value.numel()).view(value.sizes()));
      }
    }
  }

  /** Starts a step: what was summed so far is forgotten. */
  public void start() {
    Arrays.fill(written, false);
  }

  /** Ends a step: the gradients of weights that nothing contributed to become zero. */
  public void finish() {
    for (int i = 0; i < views.length; i++) {
      finish(i);
    }
  }

  /** Ends a step for one weight: nothing will be added to its gradient any more. */
  public void finish(Weight weight) {
    finish(weight.index());
  }

  private void finish(int i) {
    if (!written[i]) {
      views[i].zero_();
      written[i] = true;
    }
  }

  public void add(Weight weight, Tensor gradient) {
    if (!weight.requiresGrad()) {
      return;
    }
    Tensor view = views[weight.index()];
    if (written[weight.index()]) {
      view.add_(gradient);
    } else {
      view.copy_(gradient);
      written[weight.index()] = true;
    }
  }

  /** A time in which products wait; closing it ends it. */
  public interface Postponing extends AutoCloseable {
    @Override
    void close();
  }

  /** From now on {@link #whenDue} leaves its products to {@code later}, in their order. */
  public Postponing postpone(PostponedProducts later) {
    if (postponed.isPresent()) {
      throw new IllegalStateException("a backward pass that postpones products is under way");
    }
    postponed = Optional.of(later);
    return () -> postponed = Optional.empty();
  }

  /** Whether {@link #whenDue} means later. */
  public boolean postpones() {
    return postponed.isPresent();
  }

  /**
   * Multiplies the factors of a linear map's gradient, now or when {@link #postpone} says.
   *
   * @param g of the output, unchanged from now on
   * @param x the input, unchanged from now on
   */
  public void whenDue(Tensor g, Tensor x, BiConsumer<Tensor, Tensor> product) {
    if (postponed.isPresent()) {
      postponed.get().add(g, x, product);
    } else {
      product.accept(g, x);
    }
  }

  /** Adds {@code g^T x}: the gradient of a linear map's weight. g [n, out], x [n, in]. */
  public void addProduct(Weight weight, Tensor g, Tensor x) {
    if (!weight.requiresGrad()) {
      return;
    }
    Tensor transposed = g.t();
    if (!float32 && g.device().is_cuda()) {
      Tensor view = views[weight.index()]; // the product adds up in float32
      if (written[weight.index()]) {
        torch.addmm_out(view, view, transposed, x, ScalarType.Float);
      } else {
        torch.mm_out(view, transposed, x, ScalarType.Float);
        written[weight.index()] = true;
      }
    } else if (!float32) {
      addBlocks(weight, transposed, x);
    } else if (written[weight.index()]) {
      views[weight.index()].addmm_(transposed, x);
    } else {
      torch.mm_out(views[weight.index()], transposed, x);
      written[weight.index()] = true;
    }
  }

  /**
   * By blocks of rows, since a product in the compute format is a matrix beside the sum: that of an
   * output matrix would be as large as the activations of layers.
   */
  private void addBlocks(Weight weight, Tensor transposed, Tensor x) {
    Tensor view = views[weight.index()];
    long rows = Math.max(BLOCK_ROWS, BLOCK_BYTES / (x.element_size() * x.size(1)));
    for (long start = 0; start < view.size(0); start += rows) {
      try (Scope scope = Scope.open()) {
        long count = Math.min(rows, view.size(0) - start);
        Tensor product = torch.mm(transposed.narrow(0, start, count), x);
        Tensor block = view.narrow(0, start, count);
        if (written[weight.index()]) {
          block.add_(product);
        } else {
          block.copy_(product);
        }
      }
    }
    written[weight.index()] = true;
  }

  /** Adds row i of {@code g} to row {@code ids[i]}. g [n, width], ids [n]. */
  public void addRows(Weight weight, Tensor ids, Tensor g) {
    if (!weight.requiresGrad()) {
      return;
    }
    Tensor view = views[weight.index()];
    if (!written[weight.index()]) {
      view.zero_();
      written[weight.index()] = true;
    }
    view.index_add_(0, ids, float32 ? g : g.to(ScalarType.Float));
  }

  /** All gradients, laid out as {@link Parameters#flat}; valid after {@link #finish}. */
  public Tensor flat() {
    return flat;
  }

  @Override
  public void close() {
    retained.close();
  }
}
