package org.eellm.cli.eval;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.eellm.config.ConfigException;
import org.eellm.eval.sweep.Sweep;
import org.eellm.eval.sweep.Sweep.Row;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What is wished for of a sweep's best setting. */
@Command
final class SweepWishes {
  @Option(
      names = "--min-agreement",
      paramLabel = "X",
      description = "Tell the fastest setting that agrees at least this much, as in 0.95.")
  private Optional<Double> minAgreement;

  @Option(
      names = "--min-speedup",
      paramLabel = "X",
      description = "Tell the setting that agrees most among those at least this fast, as in 1.5.")
  private Optional<Double> minSpeedup;

  /**
   * The best setting for a wish, if there is one.
   *
   * @param options of {@code eellm generate}
   */
  record Pick(
      String wish, Optional<String> options, Optional<Double> speedUp, Optional<Double> agreement) {
    static Pick of(String wish, Row best) {
      return new Pick(
          wish,
          Optional.of(best.setting().options()),
          Optional.of(best.speedUp()),
          Optional.of(best.agreement()));
    }

    static Pick none(String wish) {
      return new Pick(wish, Optional.empty(), Optional.empty(), Optional.empty());
    }

    String line() {
      return options.isEmpty()
          ? wish + ": no setting"
          : "%s: %s (speed-up %.2f, agreement %.1f %%)"
              .formatted(wish, options.get(), speedUp.orElseThrow(), 100 * agreement.orElseThrow());
    }
  }

  /** The agreement that is wished for. */
  Optional<Double> minAgreement() {
    return minAgreement;
  }

  /** Refuses wishes that no setting can meet. */
  void require() {
    minAgreement.ifPresent(least -> requireWish("--min-agreement", least, 1));
    minSpeedup.ifPresent(least -> requireWish("--min-speedup", least, Double.MAX_VALUE));
  }

  private static void requireWish(String option, double least, double most) {
    if (!(least >= 0 && least <= most)) {
      throw new ConfigException(
          "%s: %s is outside [0, %s; use a number that can be reached"
              .formatted(option, least, most == 1 ? "1]" : "infinity)"));
    }
  }

  /** The best settings for each wish; none where speed-ups mean nothing. */
  List<Pick> picks(Sweep sweep) {
    if (!sweep.trusted()) {
      return List.of();
    }
    Map<String, Optional<Row>> wishes = new LinkedHashMap<>();
    minAgreement.ifPresent(
        least -> wishes.put("agreement of at least " + least, sweep.fastest(least)));
    minSpeedup.ifPresent(
        least -> wishes.put("speed-up of at least " + least, sweep.mostAgreeing(least)));
    return wishes.entrySet().stream()
        .map(
            wish ->
                wish.getValue()
                    .map(best -> Pick.of(wish.getKey(), best))
                    .orElseGet(() -> Pick.none(wish.getKey())))
        .toList();
  }
}
