package org.eellm.bench;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.OptionalDouble;
import java.util.function.DoubleSupplier;
import org.eellm.cost.Median;

/**
 * Figures that are measured in turns, one of each in a round, so that their ratios hold where the
 * machine's speed drifts.
 */
final class Turns {
  private final List<Figure> figures = new ArrayList<>();

  /** A figure, by round. */
  static final class Figure {
    private final DoubleSupplier measurement;
    private final List<Double> values = new ArrayList<>();

    private Figure(DoubleSupplier measurement) {
      this.measurement = measurement;
    }

    double median() {
      return Median.of(values);
    }

    double least() {
      return Collections.min(values);
    }

    double most() {
      return Collections.max(values);
    }

    /** The mean over the last quarter of the rounds; empty if it is no number. */
    OptionalDouble meanOfLastQuarter() {
      int last = Math.ceilDiv(values.size(), 4);
      OptionalDouble mean =
          values.subList(values.size() - last, values.size()).stream()
              .mapToDouble(Double::doubleValue)
              .average();
      return Double.isNaN(mean.orElse(Double.NaN)) ? OptionalDouble.empty() : mean;
    }

    /** The median of the rounds' ratios of this figure to another. */
    double over(Figure other) {
      List<Double> ratios = new ArrayList<>();
      for (int round = 0; round < values.size(); round++) {
        ratios.add(values.get(round) / other.values.get(round));
      }
      return Median.of(ratios);
    }
  }

  /** Adds a figure behind the others of a round. */
  Figure add(DoubleSupplier measurement) {
    Figure figure = new Figure(measurement);
    figures.add(figure);
    return figure;
  }

  /**
   * Measures all.
   *
   * @param warmUp rounds before those that count
   */
  void take(int warmUp, int rounds) {
    for (int round = -warmUp; round < rounds; round++) {
      for (Figure figure : figures) {
        double value = figure.measurement.getAsDouble();
        if (round >= 0) {
          figure.values.add(value);
        }
      }
    }
  }
}
