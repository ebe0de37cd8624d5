package org.eellm.generate;

import java.util.Map;
import java.util.TreeMap;
import org.eellm.config.ConfigException;

/** What a policy compares a figure with; it may differ by exit and position. */
@FunctionalInterface
public interface Threshold {

  /**
   * @param layer of the exit, from 1
   * @param position of the token to be predicted, from 0
   */
  double at(int layer, int position);

  /** The same everywhere. */
  static Threshold of(double value) {
    return (layer, position) -> value;
  }

  /**
   * One for each exit.
   *
   * @param byLayer the exits' layers, from 1, and their thresholds; asking for another is a {@link
   *     ConfigException}
   */
  static Threshold perLayer(Map<Integer, Double> byLayer) {
    Map<Integer, Double> known = new TreeMap<>(byLayer);
    return (layer, position) -> {
      Double value = known.get(layer);
      if (value == null) {
        throw new ConfigException(
            "threshold: none for the exit after layer %d, only for %s; name each exit in use"
                .formatted(layer, known.keySet()));
      }
      return value;
    };
  }
}
