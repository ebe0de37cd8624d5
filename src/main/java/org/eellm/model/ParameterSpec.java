package org.eellm.model;

import java.util.Arrays;
import java.util.List;

/**
 * A parameter before it has memory.
 *
 * @param name in the Hugging Face scheme
 * @param shape a matrix is [out, in]
 */
record ParameterSpec(String name, List<Long> shape, Initial initial) {

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

  static ParameterSpec of(String name, Initial initial, long... shape) {
    return new ParameterSpec(name, Arrays.stream(shape).boxed().toList(), initial);
  }

  long numel() {
    return shape.stream().reduce(1L, Math::multiplyExact);
  }

  long[] shapeArray() {
    return shape.stream().mapToLong(Long::longValue).toArray();
  }
}
