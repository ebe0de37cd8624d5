package org.eellm.schedule;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;

/**
 * Finds how many fills a 1F1B step takes and how deep each of them goes, by simulation against
 * costs. With equal costs f and b it finds EE-LLM's fills: K = floor((P-1) b / (f+b)) of each kind,
 * of which K - r warm-up fills go through stage r, and floor(r b / (f+b)) cool-down fills go back
 * through it.
 */
public final class FillSearch {
  /** Relative difference of makespans that is rounding. */
  private static final double ROUNDING = 1e-9;

  private final int stages;
  private final int microbatches;
  private final Costs costs;

  private FillSearch(int stages, int microbatches, Costs costs) {
    this.stages = stages;
    this.microbatches = microbatches;
    this.costs = costs;
  }

  /** How many fills of one kind. */
  public sealed interface Count {
    /** As many as the user says, even if the step takes longer. */
    record Exactly(int fills) implements Count {
      public Exactly {
        if (fills < 0) {
          throw new ScheduleException(fills + " fills; use 0 or more");
        }
      }
    }

    /** The most that do not make the step longer. */
    record Automatic() implements Count {}
  }

  /**
   * Finds fills. Each goes as deep as it can without making the step any longer than as many fills
   * of the least depth do.
   *
   * <p>A warm-up fill ends on a stage with exits, since it would train nothing further up, and
   * below the last one, since a microbatch that goes through all is no fill. There are none where
   * no exit is below the last stage.
   *
   * @param exitStages the stages that have early exits
   * @throws ScheduleException if a count cannot be had at all
   */
  public static Fills find(
      Count warmup,
      Count cooldown,
      int stages,
      int microbatches,
      Collection<Integer> exitStages,
      Costs costs) {
    FillSearch search = new FillSearch(stages, microbatches, costs);
    List<Integer> warmupDepths =
        exitStages.stream()
            .filter(stage -> stage < stages - 1)
            .map(stage -> stage + 1)
            .distinct()
            .sorted()
            .toList();
    List<Integer> cooldownDepths =
        IntStream.range(1, stages).mapToObj(depth -> stages - depth).toList();
    List<Integer> warmupFills =
        search.find(
            "warm-up",
            "an early exit below the last stage",
            warmup,
            warmupDepths,
            depths -> new Fills(depths, List.of()));
    List<Integer> cooldownFills =
        search.find(
            "cool-down",
            "two pipeline stages or more",
            cooldown,
            cooldownDepths,
            depths -> new Fills(warmupFills, depths));
    return new Fills(warmupFills, cooldownFills);
  }

  /**
   * @param depths what a fill's depth may be, least deep first
   */
  private List<Integer> find(
      String name,
      String need,
      Count count,
      List<Integer> depths,
      Function<List<Integer>, Fills> fills) {
    if (depths.isEmpty()) {
      if (count instanceof Count.Exactly(int wanted) && wanted > 0) {
        throw new ScheduleException("%d %s fills need %s; use none".formatted(wanted, name, need));
      }
      return List.of();
    }
    int least = depths.getFirst();
    int number =
        switch (count) {
          case Count.Exactly(int wanted) -> wanted;
          case Count.Automatic() -> most(least, fills);
        };
    List<Integer> found = new ArrayList<>(Collections.nCopies(number, least));
    double limit = makespan(fills.apply(found));
    int deepest = depths.size() - 1;
    for (int i = 0; i < number; i++) {
      // None goes deeper than the one before: that one could have gone as deep in its place.
      found.set(i, depths.get(deepest));
      while (!isWithin(limit, fills.apply(found))) {
        deepest--;
        found.set(i, depths.get(deepest));
      }
    }
    return List.copyOf(found);
  }

  private int most(int least, Function<List<Integer>, Fills> fills) {
    double limit = makespan(fills.apply(List.of()));
    int number = 0;
    while (isWithin(limit, fills.apply(Collections.nCopies(number + 1, least)))) {
      number++;
    }
    return number;
  }

  private boolean isWithin(double limit, Fills fills) {
    return makespan(fills) <= limit * (1 + ROUNDING);
  }

  private double makespan(Fills fills) {
    Schedule schedule = Schedules.emit(ScheduleKind.ONE_F_ONE_B, stages, 1, microbatches, fills);
    return Timeline.of(schedule, costs).makespan();
  }
}
