package org.eellm.model;

import java.util.Map;
import org.eellm.kernel.weight.WeightRows;

/**
 * Low-rank changes of a model's matrices that stay beside them, for the texts that ask for them.
 *
 * @param name of this one among a model's
 * @param changes by the parameter that is changed
 */
public record Adapter(String name, Map<String, Change> changes) {
  public Adapter {
    changes = Map.copyOf(changes);
  }

  /**
   * A change of a matrix: {@code scale * out in}.
   *
   * @param in [rank, in]
   * @param out [out, rank]
   */
  public record Change(WeightRows in, WeightRows out, double scale) {}
}
