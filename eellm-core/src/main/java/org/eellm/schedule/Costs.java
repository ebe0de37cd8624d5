package org.eellm.schedule;

import java.util.Collections;
import java.util.List;

/**
 * How long the parts of a schedule take. The unit is seconds, or any other: a timeline is in the
 * unit of its costs.
 *
 * @param forward for each virtual stage, its layers forward
 * @param backward for each virtual stage, its layers backward
 * @param weights for each virtual stage, what the gradients of its layers' matrices take of {@code
 *     backward}; a schedule may do them later
 * @param heads for each virtual stage, its heads forward and backward; they run in its backward
 *     pass, or when it tunes
 * @param headsWait whether heads wait for what comes back from the stages behind, as those do that
 *     learn from the final head; others run while it is on its way
 * @param transfer a message from one stage to another
 */
public record Costs(
    List<Double> forward,
    List<Double> backward,
    List<Double> weights,
    List<Double> heads,
    boolean headsWait,
    double transfer) {

  public Costs {
    forward = List.copyOf(forward);
    backward = List.copyOf(backward);
    weights = List.copyOf(weights);
    heads = List.copyOf(heads);
    if (backward.size() != forward.size()
        || weights.size() != forward.size()
        || heads.size() != forward.size()) {
      throw new ScheduleException(
          ("costs of %d forward passes, %d backward passes, %d weight gradients and %d heads; give"
                  + " one of each for every virtual stage")
              .formatted(forward.size(), backward.size(), weights.size(), heads.size()));
    }
    requireAtLeastZero("forward", forward);
    requireAtLeastZero("backward", backward);
    requireAtLeastZero("weights", weights);
    requireAtLeastZero("heads", heads);
    requireAtLeastZero("transfer", List.of(transfer));
    if (forward.contains(0.0)) {
      throw new ScheduleException("forward costs " + forward + ": use more than 0");
    }
    for (int i = 0; i < weights.size(); i++) {
      if (weights.get(i) > backward.get(i)) {
        throw new ScheduleException(
            "weights cost %s of backward costs %s: use at most as much"
                .formatted(weights.get(i), backward.get(i)));
      }
    }
  }

  private static void requireAtLeastZero(String name, List<Double> costs) {
    for (double cost : costs) {
      if (!(cost >= 0 && Double.isFinite(cost))) {
        throw new ScheduleException(name + " cost " + cost + ": use a number of at least 0");
      }
    }
  }

  /**
   * Equal costs of all virtual stages, no heads, and messages that take no time. Weight gradients
   * are half of backward.
   */
  public static Costs equal(int virtualStages, double forward, double backward) {
    return new Costs(
        Collections.nCopies(virtualStages, forward),
        Collections.nCopies(virtualStages, backward),
        Collections.nCopies(virtualStages, backward / 2),
        Collections.nCopies(virtualStages, 0.0),
        false,
        0);
  }
}
