package org.eellm.decode.exit;

import java.io.Serializable;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.TreeMap;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;

/** The threshold that a policy compares a figure with; it may differ by exit and step. */
@FunctionalInterface
public interface Threshold extends Serializable {

  /**
   * @param layer of the exit, from 1
   * @param step tokens of the text generated so far, from 0
   */
  double at(int layer, int step);

  /**
   * An exit's threshold where it is the same at all steps; an exit that it rules out is not asked.
   *
   * @param layer of the exit, from 1
   */
  default OptionalDouble constantAt(int layer) {
    return OptionalDouble.empty();
  }

  static Threshold of(double value) {
    return perLayer(layer -> value);
  }

  /**
   * One for each exit.
   *
   * @param byLayer the exits' layers, from 1, and their thresholds; asking for another is a {@link
   *     ConfigException}
   */
  static Threshold perLayer(Map<Integer, Double> byLayer) {
    Map<Integer, Double> known = new TreeMap<>(byLayer);
    return perLayer(
        layer -> {
          Double value = known.get(layer);
          if (value == null) {
            throw new ConfigException(
                "threshold: none for the exit after layer %d, only for %s; name each exit in use"
                    .formatted(layer, known.keySet()));
          }
          return value;
        });
  }

  private static Threshold perLayer(ValueOfLayer byLayer) {
    return new Threshold() {
      @Override
      public double at(int layer, int step) {
        return byLayer.at(layer);
      }

      @Override
      public OptionalDouble constantAt(int layer) {
        return OptionalDouble.of(byLayer.at(layer));
      }
    };
  }

  /**
   * One that is higher at first, where a wrong token has the longest aftermath (CALM, arXiv
   * 2207.07061, section 5): {@code 0.9 base + 0.1 exp(-decay step / length)}, at most 1.
   *
   * @param decay how fast it falls; CALM takes 4
   * @param length most tokens of the text
   */
  static Threshold decaying(Threshold base, double decay, int length) {
    if (!(decay >= 0 && Double.isFinite(decay))) {
      throw new SettingException(
          "threshold-decay", decay + " is negative; use 0 or more; CALM takes 4");
    }
    return (layer, step) ->
        Math.clamp(0.9 * base.at(layer, step) + 0.1 * Math.exp(-decay * step / length), 0, 1);
  }

  /** A threshold that is the same at all steps. */
  @FunctionalInterface
  interface ValueOfLayer extends Serializable {
    double at(int layer);
  }
}
