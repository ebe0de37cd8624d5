package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.eval.ExitTrace;

/**
 * Whether early exits are worth using for a model.
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
  /** Speed-up that is worth using. */
  public static final double WORTH = 1.2;

  /** Share of tokens that have to stay as they are. */
  public static final double AGREEMENT = 0.95;

  private static final List<Double> THRESHOLDS =
      IntStream.rangeClosed(0, 20).mapToObj(i -> (20 - i) / 20.0).toList();

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
  public record Forecast(SweepSetting setting, double speedUp, double agreement) {}

  /** The verdict: worth using or not. */
  public enum Verdict {
    YES,
    MAYBE,
    NO
  }

  /**
   * Puts it together.
   *
   * @param lens trace of the final head after every layer
   * @param costs measured with these heads
   */
  public static Suitability of(ExitTrace lens, DecodingCostModel costs) {
    return of(lens, costs, lens, costs, false);
  }

  /**
   * The same of a model with exits of its own.
   *
   * @param own trace of these exits
   * @param ownCosts measured with these exits
   */
  public static Suitability of(
      ExitTrace lens, DecodingCostModel costs, ExitTrace own, DecodingCostModel ownCosts) {
    return of(lens, costs, own, ownCosts, true);
  }

  private static Suitability of(
      ExitTrace lens,
      DecodingCostModel costs,
      ExitTrace exits,
      DecodingCostModel exitCosts,
      boolean trained) {
    DecodingSimulation all = new DecodingSimulation(lens, costs);
    List<Double> settled = all.settledShares();
    List<Layer> layers = new ArrayList<>();
    double depth = 0;
    for (int i = 0; i < settled.size(); i++) {
      depth += (i + 1) * settled.get(i);
      double agreement = i < lens.exits().size() ? lens.agreement(i) : 1;
      layers.add(new Layer(i + 1, agreement, settled.get(i)));
    }
    List<Forecast> forecasts = new ArrayList<>();
    if (trained) {
      forecasts.addAll(exits(exits, exitCosts, List.of()));
    } else {
      for (int layer : lens.exits()) { // one of them alone: so many heads would cost too much
        forecasts.addAll(exits(only(lens, layer), costs, List.of(layer)));
      }
    }
    for (int exit = 0; exit < exits.exits().size(); exit++) {
      forecasts.addAll(drafts(exits, exitCosts, exit));
    }
    return new Suitability(
        lens.texts().size(),
        lens.tokens(),
        List.copyOf(layers),
        depth,
        all.full() / all.oracle(),
        costs,
        trained,
        List.copyOf(forecasts));
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
                        text.prompt(),
                        text.tokens().stream().map(token -> List.of(token.get(place))).toList()))
            .toList());
  }

  private static List<Forecast> exits(
      ExitTrace trace, DecodingCostModel costs, List<Integer> layers) {
    DecodingSimulation forecast = new DecodingSimulation(trace, costs);
    double full = forecast.full();
    List<Forecast> forecasts = new ArrayList<>();
    for (double threshold : THRESHOLDS) {
      double agreement = 1 - perToken(trace, threshold);
      forecasts.add(
          new Forecast(
              SweepSetting.atThreshold(
                  DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, threshold, layers),
              full / forecast.earlyExit(threshold),
              agreement));
      forecasts.add(
          new Forecast(
              SweepSetting.atThreshold(
                  DecodingMode.RECOMPUTE, PolicyName.MAX_PROBABILITY, threshold, layers),
              full / forecast.recompute(threshold),
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

  private static List<Forecast> drafts(ExitTrace trace, DecodingCostModel costs, int exit) {
    DecodingSimulation forecast = new DecodingSimulation(trace, costs);
    double full = forecast.full();
    List<Forecast> forecasts = new ArrayList<>();
    for (int length : SweepGrid.DRAFT_LENGTHS) {
      for (double confidence : SweepGrid.DRAFT_CONFIDENCES) {
        forecasts.add(
            new Forecast(
                SweepSetting.speculative(trace.exits().get(exit), length, confidence),
                full / forecast.speculative(exit, length, confidence),
                1));
      }
    }
    return forecasts;
  }

  /** The fastest of a mode that agrees enough. */
  public Optional<Forecast> best(DecodingMode mode) {
    return forecasts.stream()
        .filter(forecast -> forecast.setting().mode() == mode && forecast.agreement() >= AGREEMENT)
        .max(Comparator.comparingDouble(Forecast::speedUp));
  }

  private double best() {
    return Arrays.stream(DecodingMode.values())
        .flatMap(mode -> best(mode).stream())
        .mapToDouble(Forecast::speedUp)
        .max()
        .orElse(1);
  }

  /** Yes where exits gain enough as they are, no where not even an oracle does. */
  public Verdict verdict() {
    return best() >= WORTH ? Verdict.YES : oracle >= WORTH ? Verdict.MAYBE : Verdict.NO;
  }

  /** Why. */
  public String reason() {
    String heads = trained ? "the model's own exits" : "copies of the final head";
    return switch (verdict()) {
      case YES ->
          "%s are enough for a speed-up of %.2f with at least %.0f %% of the tokens unchanged"
              .formatted(heads, best(), 100 * AGREEMENT);
      case MAYBE ->
          "%s gain %.2f with at least %.0f %% of the tokens unchanged, but tokens are settled early enough for %.2f; %s"
              .formatted(
                  heads,
                  best(),
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
