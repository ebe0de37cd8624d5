package org.eellm.schedule;

import java.util.Collections;
import java.util.List;

/**
 * How long the parts of a schedule take. The unit is seconds, or any other: a timeline is in the
 * unit of its costs.
 *
 * @param forward for each virtual stage, its layers forward
 * @param backward for each virtual stage, its layers backward
 * @param heads for each virtual stage, its heads forward and backward; they run in its backward
 *     pass, or when it tunes
 * @param transfer a message from one stage to another
 */
public record Costs(
    List<Double> forward, List<Double> backward, List<Double> heads, double transfer) {

  public Costs {
    forward = List.copyOf(forward);
    backward = List.copyOf(backward);
    heads = List.copyOf(heads);
    if (backward.size() != forward.size() || heads.size() != forward.size()) {
      throw new ScheduleException(
          "costs of %d forward passes, %d backward passes and %d heads; give one of each for every"
                  .formatted(forward.size(), backward.size(), heads.size())
              + " virtual stage");
    }
    requireAtLeastZero("forward", forward);
    requireAtLeastZero("backward", backward);
    requireAtLeastZero("heads", heads);
    requireAtLeastZero("transfer", List.of(transfer));
    if (forward.contains(0.0)) {
      throw new ScheduleException("forward costs " + forward + ": use more than 0");
    }
  }

  private static void requireAtLeastZero(String name, List<Double> costs) {
    for (double cost : costs) {
      if (!(cost >= 0 && Double.isFinite(cost))) {
        throw new ScheduleException(name + " cost " + cost + ": use a number of at least 0");
      }
    }
  }

  /** The same for every virtual stage, no heads, and messages that take no time. */
  public static Costs equal(int virtualStages, double forward, double backward) {
    return new Costs(
        Collections.nCopies(virtualStages, forward),
        Collections.nCopies(virtualStages, backward),
        Collections.nCopies(virtualStages, 0.0),
        0);
  }

  /** These costs with heads of their own. */
  public Costs withHeads(List<Double> heads) {
    return new Costs(forward, backward, heads, transfer);
  }
}
