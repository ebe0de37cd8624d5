package org.eellm.model;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.function.Predicate;
import org.eellm.kernel.weight.StoredRows;
import org.eellm.kernel.weight.WeightRows;
import org.eellm.model.parameter.Parameter;
import org.eellm.tensor.Scope;
import org.eellm.tensor.Tensors;
import org.eellm.tensor.Torch;

/** Random low-rank changes, and what matrices are with them. */
public final class RandomAdapter {
  private RandomAdapter() {}

  /**
   * Changes of a model's maps that a predicate takes by their names.
   *
   * @param seed of the numbers, and of each map's rank, 1 to 5
   */
  public static Adapter of(Decoder model, String name, long seed, Predicate<String> takes) {
    Random random = new Random(seed);
    Map<String, Adapter.Change> changes = new HashMap<>();
    for (Parameter parameter : model.parameters().all()) {
      if (parameter.name().matches(".+_proj\\.weight") && takes.test(parameter.name())) {
        long[] shape = parameter.shape();
        int rank = 1 + random.nextInt(5);
        changes.put(
            parameter.name(),
            new Adapter.Change(
                rows(random, rank, (int) shape[1]), rows(random, (int) shape[0], rank), 0.2));
      }
    }
    return new Adapter(name, changes);
  }

  private static WeightRows rows(Random random, int rows, int columns) {
    float[] values = new float[rows * columns];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (0.3 * random.nextGaussian());
    }
    MemorySegment memory = Arena.global().allocate(4L * values.length, 64);
    MemorySegment.copy(values, 0, memory, ValueLayout.JAVA_FLOAT, 0, values.length);
    return StoredRows.of(StoredRows.Type.FLOAT32, memory.address(), rows, columns);
  }

  /** Puts changes into a model's matrices, by loops in float64. */
  public static void merge(Decoder model, Adapter adapter) {
    adapter
        .changes()
        .forEach(
            (name, change) -> {
              Parameter parameter = model.parameters().get(name);
              float[] values = Tensors.toFloats(parameter.value());
              float[] in = change.in().floats();
              float[] out = change.out().floats();
              int rank = change.in().rows();
              int width = change.in().columns();
              for (int i = 0; i < values.length; i++) {
                double sum = values[i];
                for (int r = 0; r < rank; r++) {
                  double product = (double) out[i / width * rank + r] * in[r * width + i % width];
                  sum += change.scale() * product;
                }
                values[i] = (float) sum;
              }
              try (Scope _ = Scope.open()) {
                parameter.value().copy_(Tensors.ofFloats(values, Torch.cpu(), parameter.shape()));
              }
            });
  }
}
