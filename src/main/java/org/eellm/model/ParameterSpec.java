package org.eellm.model;

import java.util.Arrays;
import java.util.List;

/**
 * A parameter before it has memory.
 *
 * @param name in the Hugging Face scheme
 * @param shape of the whole parameter; a matrix is [out, in]
 * @param split what a rank of tensor parallelism holds of it
 */
record ParameterSpec(String name, List<Long> shape, Initial initial, Split split) {

  /** How a parameter starts: N(0, std), N(0, std / sqrt(2 numLayers)), ones or zeros. */
  enum Initial {
    NORMAL,
    NORMAL_SCALED_BY_DEPTH,
    ONES,
    ZEROS
  }

  ParameterSpec {
    shape = List.copyOf(shape);
  }

  static ParameterSpec of(String name, Initial initial, Split split, long... shape) {
    return new ParameterSpec(name, Arrays.stream(shape).boxed().toList(), initial, split);
  }

  long[] shapeArray() {
    return shape.stream().mapToLong(Long::longValue).toArray();
  }

  /** The shape of one of {@code ranks} equal parts. */
  long[] shardShape(int ranks) {
    return split.shardShape(shapeArray(), ranks);
  }

  /** Elements of one of {@code ranks} equal parts. */
  long shardNumel(int ranks) {
    return Arrays.stream(shardShape(ranks)).reduce(1L, Math::multiplyExact);
  }
}
