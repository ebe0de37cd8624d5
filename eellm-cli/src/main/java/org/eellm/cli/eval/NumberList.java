package org.eellm.cli.eval;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import org.eellm.config.ConfigException;

/** Numbers of an option. */
final class NumberList {
  private static final int MOST_VALUES = 1000;

  private NumberList() {}

  /** Numbers as people list them: {@code 0.9,0.5} or {@code 1.0:0.0:0.05}. */
  static List<Double> parse(String option, String text) {
    try {
      String[] range = text.split(":", -1);
      if (range.length != 3) {
        List<Double> values = new ArrayList<>();
        for (String part : text.split(",", -1)) {
          values.add(Double.valueOf(part));
        }
        return values;
      }
      BigDecimal first = new BigDecimal(range[0]);
      BigDecimal last = new BigDecimal(range[1]);
      BigDecimal step = new BigDecimal(range[2]);
      BigDecimal distance = last.subtract(first).abs();
      if (step.signum() > 0
          && distance.compareTo(step.multiply(BigDecimal.valueOf(MOST_VALUES))) <= 0) {
        BigDecimal signed = last.compareTo(first) < 0 ? step.negate() : step;
        List<Double> values = new ArrayList<>();
        for (BigDecimal value = first;
            value.subtract(first).abs().compareTo(distance) <= 0;
            value = value.add(signed)) {
          values.add(value.doubleValue());
        }
        return values;
      }
    } catch (NumberFormatException | ArithmeticException expected) {
      // said below, for steps that lead nowhere alike
    }
    throw new ConfigException(
        "%s: '%s' is no list of numbers; write 0.9,0.5 or 1.0:0.0:0.05".formatted(option, text));
  }
}
