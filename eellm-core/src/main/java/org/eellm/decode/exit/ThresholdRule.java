package org.eellm.decode.exit;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import org.eellm.decode.token.Prediction;
import org.eellm.model.Head;

/**
 * A figure of an exit's prediction beside a threshold.
 *
 * @param scale of the figure and of its thresholds
 * @param defaultThreshold where none is given
 */
public record ThresholdRule(Scale scale, Figure figure, double defaultThreshold)
    implements PolicyRule, Serializable {

  /** A number that a prediction has. */
  @FunctionalInterface
  public interface Figure extends ToDoubleFunction<Prediction>, Serializable {}

  /** The scale of a figure and of its thresholds. */
  public enum Scale {
    /** From 0 to 1, and higher where an exit is surer; reached at the threshold or above. */
    CONFIDENCE {
      @Override
      boolean meets(double figure, double threshold) {
        return figure >= threshold;
      }

      @Override
      boolean canMeet(double threshold) {
        return threshold < 1; // a softmax never quite gives 1, but for rounding
      }
    },
    /** From 0 up, and lower where an exit is surer; reached at the threshold or below. */
    UNCERTAINTY {
      @Override
      boolean meets(double figure, double threshold) {
        return figure <= threshold;
      }

      @Override
      boolean canMeet(double threshold) {
        return threshold > 0;
      }
    };

    abstract boolean meets(double figure, double threshold);

    /** Whether any figure meets a threshold. */
    abstract boolean canMeet(double threshold);

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** Of a figure that is higher where an exit is surer. */
  static ThresholdRule confidence(Figure figure, double defaultThreshold) {
    return new ThresholdRule(Scale.CONFIDENCE, figure, defaultThreshold);
  }

  /** Of the gates' confidence, by the exits' layers. */
  public static ThresholdRule ofGates(Map<Integer, Gate> gates) {
    Map<Integer, Gate> known = Map.copyOf(gates);
    return confidence(
        prediction -> {
          Gate gate = known.get(prediction.head().layer());
          return gate == null ? 0 : gate.confidence(prediction);
        },
        0.9);
  }

  /** Of a figure that is lower where an exit is surer. */
  static ThresholdRule uncertainty(Figure figure, double defaultThreshold) {
    return new ThresholdRule(Scale.UNCERTAINTY, figure, defaultThreshold);
  }

  @Override
  public Set<String> settings() {
    return isConfidence()
        ? Set.of("threshold", "threshold-decay", "exits", "max-pending")
        : Set.of("threshold", "exits", "max-pending");
  }

  /**
   * Whether its figure is a confidence: only such a threshold decays, which takes it towards 1, and
   * can be calibrated, which begins at 1.
   */
  public boolean isConfidence() {
    return scale == Scale.CONFIDENCE;
  }

  /** The policy with a threshold. An exit whose threshold no figure can meet is not asked. */
  public ExitPolicy policy(Threshold threshold) {
    return new ExitPolicy() {
      @Override
      public boolean leaves(Prediction prediction) {
        return scale.meets(
            figure.applyAsDouble(prediction),
            threshold.at(prediction.head().layer(), prediction.step()));
      }

      @Override
      public List<Head> heads(List<Head> all) {
        return within(all, threshold);
      }
    };
  }

  /** The exits whose threshold can be met, and the final head. */
  private List<Head> within(List<Head> all, Threshold threshold) {
    List<Head> some = new ArrayList<>();
    for (Head head : all.subList(0, all.size() - 1)) {
      OptionalDouble always = threshold.constantAt(head.layer());
      if (always.isEmpty() || scale.canMeet(always.getAsDouble())) {
        some.add(head);
      }
    }
    some.add(all.getLast());
    return some;
  }
}
