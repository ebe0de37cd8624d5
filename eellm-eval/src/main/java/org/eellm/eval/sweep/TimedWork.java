package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.Consumer;
import java.util.function.IntConsumer;
import java.util.function.Supplier;
import java.util.function.ToDoubleFunction;
import org.eellm.cost.Median;
import org.eellm.decode.request.Result;
import org.jspecify.annotations.Nullable;

/**
 * A way to pass through all texts of a {@link SweepRun}, and how long its passes took beside the
 * full model's.
 */
final class TimedWork {
  /** Rounds before those that count, in which Java compiles. */
  static final int WARM_UP_ROUNDS = 1;

  /** Ways between two passes of the full model. */
  private static final int BETWEEN = 3;

  private final Supplier<Pass> pass;
  private final boolean leavesAll;
  private final Consumer<RuntimeException> failed;
  private final List<Double> seconds = new ArrayList<>(); // of a round
  private final List<Double> full = new ArrayList<>(); // the full model's beside them
  private @Nullable Pass last; // of the round before, if all went well

  /** One way through all texts. */
  record Pass(List<Result> results, double agreement, int batchSize) {
    private double seconds() {
      return until(Result::seconds);
    }

    /** To the first tokens. */
    private double prompts() {
      return until(Result::firstTokenSeconds);
    }

    /** Of texts that run together the last one's. */
    private double until(ToDoubleFunction<Result> time) {
      double seconds = 0;
      for (int from = 0; from < results.size(); from += batchSize) {
        int end = Math.min(from + batchSize, results.size());
        seconds += results.subList(from, end).stream().mapToDouble(time).max().orElseThrow();
      }
      return seconds;
    }
  }

  /**
   * @param leavesAll whether prompts leave for good, too: what is left out of them never comes
   *     later
   * @param failed is told of a failure, behind which there are no further passes
   */
  TimedWork(Supplier<Pass> pass, boolean leavesAll, Consumer<RuntimeException> failed) {
    this.pass = pass;
    this.leavesAll = leavesAll;
    this.failed = failed;
  }

  /** Passes of all, and of the full model. */
  static int passes(int works, int rounds) {
    return (works + 1 + Math.ceilDiv(works, BETWEEN)) * (WARM_UP_ROUNDS + rounds);
  }

  /**
   * Lets works take turns, in rounds.
   *
   * @param passed is told after each pass how many there were
   * @return those that have not failed
   */
  static List<TimedWork> run(
      List<TimedWork> works, int rounds, Supplier<Pass> full, IntConsumer passed) {
    int[] count = {0};
    Supplier<Pass> counted =
        () -> {
          Pass done = full.get();
          passed.accept(++count[0]);
          return done;
        };
    List<TimedWork> left = works;
    for (int round = -WARM_UP_ROUNDS; round < rounds; round++) {
      Pass before = counted.get();
      List<TimedWork> whole = new ArrayList<>();
      for (int from = 0; from < left.size(); from += BETWEEN) {
        List<TimedWork> done = new ArrayList<>();
        for (TimedWork work : left.subList(from, Math.min(from + BETWEEN, left.size()))) {
          if (work.passes()) {
            done.add(work);
            passed.accept(++count[0]);
          }
        }
        Pass after = counted.get();
        if (round >= 0) {
          for (TimedWork work : done) {
            work.compare(before, after);
          }
        }
        before = after;
        whole.addAll(done);
      }
      left = whole;
    }
    return left;
  }

  /** Whether a pass goes well. */
  private boolean passes() {
    try {
      last = pass.get();
      return true;
    } catch (RuntimeException e) {
      failed.accept(e);
      return false;
    }
  }

  /** Times the last pass beside the full model's shortly before and shortly after. */
  private void compare(Pass before, Pass after) {
    double prompts = (before.prompts() + after.prompts()) / 2;
    full.add(beyond(prompts, (before.seconds() + after.seconds()) / 2));
    seconds.add(beyond(leavesAll ? last().prompts() : prompts, last().seconds()));
  }

  /** Never 0, which texts of a single token would take. */
  private static double beyond(double begun, double seconds) {
    return Math.max(1e-9, seconds - begun);
  }

  /** The last pass; all do the same work. */
  Pass last() {
    return Objects.requireNonNull(last);
  }

  /** Of a round, behind the first tokens. */
  double medianSeconds() {
    return Median.of(seconds);
  }

  /** The full model's. */
  double medianFullSeconds() {
    return Median.of(full);
  }

  /** The full model's times over this one's, by rounds. */
  double[] speedUps() {
    double[] ratios = new double[seconds.size()];
    for (int i = 0; i < ratios.length; i++) {
      ratios[i] = full.get(i) / seconds.get(i);
    }
    return ratios;
  }
}
