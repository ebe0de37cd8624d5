package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.stream.IntStream;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.eval.ExitTrace;

/**
 * Whether early exits, and drafts, are worth using for a model.
 *
 * @param texts that it was found with
 * @param tokens of these, prompts not counted
 * @param layers what the final head says at every layer
 * @param meanDepth layer at which a token is settled, on average
 * @param oracle speed-up of leaving just there, knowing where: what no exits surpass
 * @param costs of the lens, which the oracle's speed follows from
 * @param trained whether forecasts are of exits of the model's own, and not of a copied final head
 * @param forecasts what settings would gain and change
 */
public record Suitability(
    int texts,
    int tokens,
    List<Layer> layers,
    double meanDepth,
    double oracle,
    DecodingCostModel costs,
    boolean trained,
    List<Forecast> forecasts) {
  /** How often planners go through the texts; the fastest time counts. */
  private static final int PLANNED = 5;

  /** Speed-up that is worth using. */
  public static final double WORTH = 1.2;

  /** Share of tokens that have to stay as they are. */
  public static final double AGREEMENT = 0.95;

  private static final List<Double> THRESHOLDS =
      IntStream.rangeClosed(0, 20).mapToObj(i -> (20 - i) / 20.0).toList();

  /** Of the confidences of a calibration's decisions, which are 0 and 1. */
  private static final double DECIDED = 0.5;

  /**
   * A layer.
   *
   * @param agreement share of the tokens of which the final head, put there, says the same
   * @param settled share of the tokens of which heads say the same from here on, and not before
   */
  public record Layer(int layer, double agreement, double settled) {}

  /**
   * What a setting would do.
   *
   * @param speedUp over the full model
   * @param agreement share of the tokens that are the full model's
   */
  public record Forecast(SweepSetting setting, double speedUp, double agreement) {
    /** Whether enough tokens stay as they are. */
    boolean isFaithful() {
      return agreement >= AGREEMENT;
    }
  }

  /** The verdict: worth using or not. */
  public enum Verdict {
    YES,
    MAYBE,
    NO
  }

  /**
   * Puts it together.
   *
   * @param lens the final head after every layer
   */
  public static Suitability of(MeasuredHeads lens) {
    return of(lens, lens, false);
  }

  /**
   * The same of a model with exits.
   *
   * @param own exits
   */
  public static Suitability of(MeasuredHeads lens, MeasuredHeads own) {
    return of(lens, own, true);
  }

  private static Suitability of(MeasuredHeads lens, MeasuredHeads own, boolean trained) {
    DecodingSimulation all = new DecodingSimulation(lens.exits(), lens.costs());
    List<Double> settled = all.settledShares();
    List<Layer> layers = new ArrayList<>();
    double depth = 0;
    for (int i = 0; i < settled.size(); i++) {
      depth += (i + 1) * settled.get(i);
      double agreement = i < lens.exits().exits().size() ? lens.exits().agreement(i) : 1;
      layers.add(new Layer(i + 1, agreement, settled.get(i)));
    }
    return new Suitability(
        lens.exits().texts().size(),
        lens.exits().tokens(),
        List.copyOf(layers),
        depth,
        all.full() / all.oracle(),
        lens.costs(),
        trained,
        forecasts(own, trained));
  }

  private static List<Forecast> forecasts(MeasuredHeads heads, boolean trained) {
    List<Forecast> forecasts = new ArrayList<>();
    if (trained) {
      forecasts.addAll(exits(heads.exits(), heads.costs(), List.of()));
    } else {
      for (int layer : heads.exits().exits()) { // one alone: so many heads would cost too much
        forecasts.addAll(exits(only(heads.exits(), layer), heads.costs(), List.of(layer)));
      }
    }
    heads.calibrated().ifPresent(file -> forecasts.addAll(calibrated(file, heads.costs())));
    DecodingSimulation drafts = new DecodingSimulation(heads.drafts(), heads.costs());
    for (int exit = 0; exit < heads.drafts().exits().size(); exit++) {
      forecasts.addAll(drafts(drafts, exit));
    }
    forecasts.add(adaptive(drafts, heads, DraftSource.TEXT));
    if (trained) {
      forecasts.add(adaptive(drafts, heads, DraftSource.BOTH));
    }
    return List.copyOf(forecasts);
  }

  /** A trace as if the model had one exit only. */
  private static ExitTrace only(ExitTrace trace, int layer) {
    int place = trace.exits().indexOf(layer);
    return new ExitTrace(
        List.of(layer),
        trace.layers(),
        trace.texts().stream()
            .map(
                text ->
                    new ExitTrace.Text(
                        text.written(),
                        text.tokens().stream().map(token -> List.of(token.get(place))).toList()))
            .toList());
  }

  private static List<Forecast> exits(
      ExitTrace trace, DecodingCostModel costs, List<Integer> layers) {
    DecodingSimulation simulation = new DecodingSimulation(trace, costs);
    double full = simulation.full();
    List<Forecast> forecasts = new ArrayList<>();
    for (double threshold : THRESHOLDS) {
      double agreement = 1 - perToken(trace, threshold);
      forecasts.add(
          new Forecast(
              SweepSetting.atThreshold(
                  DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, threshold, layers),
              full / simulation.earlyExit(threshold),
              agreement));
      forecasts.add(
          new Forecast(
              SweepSetting.atThreshold(
                  DecodingMode.RECOMPUTE, PolicyName.MAX_PROBABILITY, threshold, layers),
              full / simulation.recompute(threshold),
              agreement));
    }
    return forecasts;
  }

  /** Share of all tokens that differ; texts weigh as much as they have tokens. */
  private static double perToken(ExitTrace trace, double threshold) {
    double[] losses = trace.losses(threshold);
    double sum = 0;
    for (int i = 0; i < losses.length; i++) {
      sum += losses[i] * trace.texts().get(i).tokens().size();
    }
    return sum / trace.tokens();
  }

  private static List<Forecast> calibrated(MeasuredHeads.Calibrated file, DecodingCostModel costs) {
    DecodingSimulation simulation =
        new DecodingSimulation(file.decisions(), file.gated() ? costs.ofGates() : costs);
    double full = simulation.full();
    double agreement = 1 - perToken(file.decisions(), DECIDED);
    return List.of(
        new Forecast(
            SweepSetting.calibrated(DecodingMode.EARLY_EXIT, file.file()),
            full / simulation.earlyExit(DECIDED),
            agreement),
        new Forecast(
            SweepSetting.calibrated(DecodingMode.RECOMPUTE, file.file()),
            full / simulation.recompute(DECIDED),
            agreement));
  }

  private static List<Forecast> drafts(DecodingSimulation simulation, int exit) {
    int layer = simulation.trace().exits().get(exit);
    double full = simulation.full();
    List<Forecast> forecasts = new ArrayList<>();
    for (int length : SweepGrid.DRAFT_LENGTHS) {
      for (double confidence : SweepGrid.DRAFT_CONFIDENCES) {
        double seconds = simulation.speculative(exit, new DraftLength.Adaptive(length, confidence));
        forecasts.add(
            new Forecast(SweepSetting.speculative(layer, length, confidence), full / seconds, 1));
      }
    }
    return forecasts;
  }

  private static Forecast adaptive(
      DecodingSimulation simulation, MeasuredHeads heads, DraftSource source) {
    double seconds = Double.MAX_VALUE;
    for (int i = 0; i < PLANNED; i++) {
      DraftPlanner planner = heads.planners().get();
      seconds = Math.min(seconds, simulation.adaptive(planner, source, heads.clock()));
    }
    return new Forecast(
        source == DraftSource.TEXT ? SweepSetting.textDrafts() : SweepSetting.adaptiveDrafts(),
        simulation.full() / seconds,
        1);
  }

  /** Settings that differ in numbers alone. */
  private record Kind(
      DecodingMode mode,
      boolean isCalibrated,
      Optional<DraftSource> source,
      boolean isOfFixedExit) {
    static Kind of(SweepSetting setting) {
      return new Kind(
          setting.mode(),
          setting.calibration().isPresent(),
          setting.draftSource(),
          setting.draftExit().isPresent());
    }
  }

  /** Of each kind of settings the fastest that agrees enough; where none does, what agrees most. */
  public List<Forecast> best() {
    SequencedMap<Kind, Forecast> best = new LinkedHashMap<>();
    forecasts.forEach(
        forecast -> best.merge(Kind.of(forecast.setting()), forecast, Suitability::better));
    return List.copyOf(best.values());
  }

  private static Forecast better(Forecast one, Forecast other) {
    if (one.isFaithful() && other.isFaithful()) {
      return one.speedUp() >= other.speedUp() ? one : other;
    }
    return one.agreement() >= other.agreement() ? one : other;
  }

  private Optional<Forecast> fastest() {
    return best().stream()
        .filter(Forecast::isFaithful)
        .max(Comparator.comparingDouble(Forecast::speedUp));
  }

  private double bestSpeedUp() {
    return fastest().map(Forecast::speedUp).orElse(1.0);
  }

  /** Yes where something gains enough as it is, no where not even an oracle does. */
  public Verdict verdict() {
    return bestSpeedUp() >= WORTH ? Verdict.YES : oracle >= WORTH ? Verdict.MAYBE : Verdict.NO;
  }

  /** What gains most. */
  private String winner() {
    SweepSetting setting = fastest().map(Forecast::setting).orElse(SweepSetting.atThreshold(1));
    String heads = trained ? "the model's own exits" : "copies of the final head";
    if (setting.draftSource().isPresent()) {
      return "drafts of the text itself, which need no exits,";
    }
    return setting.equals(SweepSetting.adaptiveDrafts())
        ? heads + " and drafts of the text itself"
        : heads;
  }

  /** Why. */
  public String reason() {
    return switch (verdict()) {
      case YES ->
          "%s are enough for a speed-up of %.2f with at least %.0f %% of the tokens unchanged"
              .formatted(winner(), bestSpeedUp(), 100 * AGREEMENT);
      case MAYBE ->
          "%s gain %.2f with at least %.0f %% of the tokens unchanged, but tokens are settled early enough for %.2f; %s"
              .formatted(
                  winner(),
                  bestSpeedUp(),
                  100 * AGREEMENT,
                  oracle,
                  trained
                      ? "better exits may get some of that, or a lower share of unchanged tokens"
                          + " may do"
                      : "tuned exits may get some of that (eellm tune)");
      case NO ->
          "tokens are settled so late that even an oracle, which leaves as early as can be, would gain %.2f"
              .formatted(oracle);
    };
  }
}
