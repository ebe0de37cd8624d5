package org.eellm.schedule;

import java.util.Comparator;
import java.util.List;

/**
 * How many extra microbatches fill the bubbles of a 1F1B step, and how far each of them goes. The
 * depths decide how much time they take; {@link FillSearch} finds those that take none.
 *
 * @param warmupStages for each warm-up fill, how many of the first stages it goes through; deepest
 *     first
 * @param cooldownFirstStages for each cool-down fill, the lowest stage it goes back through;
 *     deepest first
 */
public record Fills(List<Integer> warmupStages, List<Integer> cooldownFirstStages) {

  public Fills {
    warmupStages = warmupStages.stream().sorted(Comparator.reverseOrder()).toList();
    cooldownFirstStages = cooldownFirstStages.stream().sorted().toList();
  }

  /** No fills. */
  public static Fills none() {
    return new Fills(List.of(), List.of());
  }

  public boolean isEmpty() {
    return warmupStages.isEmpty() && cooldownFirstStages.isEmpty();
  }
}
