package org.eellm.eval.sweep;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.ExitTrace.ExitPrediction;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.Sweep.Row;
import org.eellm.eval.sweep.Sweep.Spread;

/**
 * Whether early exits, and drafts, are worth using for a model: a sweep of the few settings that
 * may be fastest, each measured beside the full model.
 *
 * <p>What exits say of the full model's text tells which settings these are: it gives every
 * threshold's agreement at once, and of those that agree enough the lowest is the fastest.
 *
 * @param texts that exits were asked of
 * @param tokens of these, prompts not counted
 * @param timedTexts the first of these, which were timed
 * @param trained whether exits are the model's own, and not copies of the final head
 * @param layers of the model
 * @param exits what they say
 * @param meanDepth layer at which a token is settled, on average
 * @param findings one for each setting
 * @param busy why speed-ups mean nothing, if they do not
 */
public record Suitability(
    int texts,
    int tokens,
    int timedTexts,
    boolean trained,
    int layers,
    List<Exit> exits,
    double meanDepth,
    List<Finding> findings,
    Optional<String> busy) {
  /** Speed-up that is worth using. */
  public static final double WORTH = 1.2;

  /** Share of tokens that have to stay as they are. */
  public static final double AGREEMENT = 0.95;

  /** A share of tokens for those who want more of them to stay. */
  private static final double HIGH_AGREEMENT = 0.99;

  /** From the highest. */
  private static final List<Double> THRESHOLDS =
      IntStream.rangeClosed(0, 20).mapToObj(i -> (20 - i) / 20.0).toList();

  private static final int ROUNDS = 5;

  /** Where so few leave open whether a setting is worth using. */
  private static final int MORE_ROUNDS = 15;

  /** Of all rounds, where the model is not so slow that two texts take longer. */
  private static final double SECONDS = 60;

  /** Of drafts by a copy of the final head. */
  private static final int DRAFT_LENGTH = 4;

  private static final double DRAFT_MARGIN = 0.2;

  /** Of the confidences of a calibration's decisions, which are 0 and 1. */
  private static final double DECIDED = 0.5;

  /**
   * An exit.
   *
   * @param agreement share of the tokens of which it says the same as the full model
   * @param settled share of the tokens of which it and all exits above say the same, and none below
   */
  public record Exit(int layer, double agreement, double settled) {}

  /**
   * A setting's speed-up and agreement.
   *
   * @param speedUp over the full model: median of rounds
   * @param spread of single rounds
   * @param agreement share of all tokens that are the full model's
   */
  public record Finding(SweepSetting setting, double speedUp, Spread spread, double agreement) {
    static Finding of(Row row, double agreement) {
      return new Finding(row.setting(), row.speedUp(), row.spread(), agreement);
    }

    /** Whether enough tokens stay as they are. */
    boolean isFaithful() {
      return agreement >= AGREEMENT;
    }

    /** Whether some rounds say that it is worth using, and others that it is not. */
    boolean isOpen() {
      return spread.least() < WORTH && spread.most() >= WORTH;
    }
  }

  /** The verdict: worth using or not; none where the machine was busy. */
  public enum Verdict {
    YES,
    MAYBE,
    NO,
    UNKNOWN
  }

  public Suitability {
    exits = List.copyOf(exits);
    findings = List.copyOf(findings);
  }

  /**
   * Measures a model with exits.
   *
   * @param trained whether these are the model's own, and not copies of the final head
   * @param calibrated settings by a calibration's thresholds, which are tried, too
   * @param run with texts of the full model's
   */
  public static Suitability measure(
      EvaluatedModel model,
      boolean trained,
      List<SweepSetting> calibrated,
      SweepRun run,
      EvalProgress progress) {
    ExitTrace trace =
        ExitTrace.of(
            model,
            run.texts(),
            new Calibration.OfPolicy(PolicyName.MAX_PROBABILITY, new TreeMap<>()));
    SequencedMap<SweepSetting, Double> agreements = candidates(trace, trained);
    calibrated.forEach(setting -> agreements.put(setting, agreement(model, run.texts(), setting)));
    return of(trace, trained, agreements, run, progress);
  }

  /**
   * Times settings.
   *
   * @param agreements of the settings, over all texts
   */
  static Suitability of(
      ExitTrace trace,
      boolean trained,
      SequencedMap<SweepSetting, Double> agreements,
      SweepRun run,
      EvalProgress progress) {
    List<SweepSetting> settings = List.copyOf(agreements.keySet());
    SweepRun timed = run.within(SECONDS / SweepRun.passes(settings, ROUNDS));
    Sweep sweep = timed.measure(settings, ROUNDS, progress);
    List<Finding> findings = new ArrayList<>();
    for (Row row : sweep.rows()) {
      findings.add(Finding.of(row, agreements.getOrDefault(row.setting(), row.agreement())));
    }
    Optional<String> busy = sweep.distrust();
    Finding fastest = fastest(findings);
    if (busy.isEmpty() && fastest.isOpen()) {
      Sweep again = timed.measure(List.of(fastest.setting()), MORE_ROUNDS, progress);
      findings.set(
          findings.indexOf(fastest), Finding.of(again.rows().getFirst(), fastest.agreement()));
      busy = again.distrust();
    }
    int count = trace.exits().size();
    int[] settled = new int[count + 1]; // the last one: at the final head
    trace.texts().stream()
        .flatMap(text -> text.tokens().stream())
        .forEach(token -> settled[settled(token)]++);
    List<Exit> exits = new ArrayList<>();
    double depth = (double) settled[count] / trace.tokens() * trace.layers();
    for (int i = 0; i < count; i++) {
      double share = (double) settled[i] / trace.tokens();
      depth += share * trace.exits().get(i);
      exits.add(new Exit(trace.exits().get(i), trace.agreement(i), share));
    }
    return new Suitability(
        trace.texts().size(),
        trace.tokens(),
        sweep.prompts(),
        trained,
        trace.layers(),
        exits,
        depth,
        findings,
        busy);
  }

  private static double agreement(
      EvaluatedModel model, List<GreedyContinuation> texts, SweepSetting setting) {
    return agreement(
        ExitTrace.ofDecisions(
            model,
            texts,
            setting.decoding().get(DecodingSetting.CALIBRATION).orElseThrow().policy()),
        DECIDED);
  }

  /** The settings that may be fastest, and the share of all tokens that each keeps. */
  static SequencedMap<SweepSetting, Double> candidates(ExitTrace trace, boolean trained) {
    SequencedMap<SweepSetting, Double> found = new LinkedHashMap<>();
    found.put(SweepSetting.textDrafts(), 1.0);
    found.putAll(trained ? ofAllExits(trace) : ofOneExit(trace));
    return found;
  }

  /** Share of all tokens that a threshold keeps; texts weigh as much as they have tokens. */
  static double agreement(ExitTrace trace, double threshold) {
    double[] losses = trace.losses(threshold);
    double sum = 0;
    for (int i = 0; i < losses.length; i++) {
      sum += losses[i] * trace.texts().get(i).tokens().size();
    }
    return 1 - sum / trace.tokens();
  }

  /** The lowest threshold that keeps enough tokens; 1 lets none leave. */
  private static double lowest(ExitTrace trace, double least) {
    return THRESHOLDS.stream()
        .takeWhile(threshold -> agreement(trace, threshold) >= least)
        .reduce(1.0, Math::min);
  }

  private static SequencedMap<SweepSetting, Double> ofAllExits(ExitTrace trace) {
    SequencedMap<SweepSetting, Double> found = new LinkedHashMap<>();
    found.put(SweepSetting.adaptiveDrafts(), 1.0);
    for (double least : List.of(HIGH_AGREEMENT, AGREEMENT)) {
      double threshold = lowest(trace, least);
      if (threshold < 1) {
        found.put(SweepSetting.atThreshold(threshold), agreement(trace, threshold));
      }
    }
    return found;
  }

  /**
   * Of copies of the final head that alone which lets tokens pass the fewest layers: so many heads
   * cost more than they save.
   */
  private static SequencedMap<SweepSetting, Double> ofOneExit(ExitTrace trace) {
    SequencedMap<SweepSetting, Double> found = new LinkedHashMap<>();
    double fewest = trace.layers();
    for (int layer : trace.exits()) {
      ExitTrace one = trace.only(layer);
      double threshold = lowest(one, AGREEMENT);
      double passed = one.meanLayer(threshold);
      if (passed < fewest) {
        fewest = passed;
        found.clear();
        found.put(
            SweepSetting.atThreshold(
                DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, threshold, List.of(layer)),
            agreement(one, threshold));
        found.put(SweepSetting.speculative(layer, DRAFT_LENGTH, DRAFT_MARGIN), 1.0);
      }
    }
    return found;
  }

  /** The place of the lowest exit from which on all say the token that the full model says. */
  private static int settled(List<ExitPrediction> token) {
    int from = token.size();
    while (from > 0 && token.get(from - 1).agrees()) {
      from--;
    }
    return from;
  }

  private static Finding fastest(List<Finding> findings) {
    return findings.stream()
        .filter(Finding::isFaithful)
        .max(Comparator.comparingDouble(Finding::speedUp))
        .orElseThrow(); // drafts change no token
  }

  /**
   * The speed-up that no use of these exits surpasses: tokens leave where they are settled, heads
   * cost nothing, and what waits for the layers above neither. Drafts of the text may surpass it.
   */
  public double limit() {
    return layers / meanDepth;
  }

  /** Yes where something gains enough as it is, no where exits cannot either. */
  public Verdict verdict() {
    if (busy.isPresent()) {
      return Verdict.UNKNOWN;
    }
    return fastest(findings).speedUp() >= WORTH
        ? Verdict.YES
        : limit() >= WORTH ? Verdict.MAYBE : Verdict.NO;
  }

  /** Why. */
  public String reason() {
    if (busy.isPresent()) {
      return busy.get();
    }
    Finding best = fastest(findings);
    String measured =
        "%s has a speed-up of %.2f (%s) with %.1f %% of the tokens unchanged"
            .formatted(
                best.setting().label(), best.speedUp(), best.spread(), 100 * best.agreement());
    return switch (verdict()) {
      case YES -> measured + (trained || isOfText(best) ? "" : ", by copies of the final head");
      case MAYBE ->
          "%s; tokens are settled early enough for up to %.2f, of which %s may get some"
              .formatted(measured, limit(), trained ? "better exits" : "tuned exits (eellm tune)");
      default ->
          "%s; tokens are settled so late that no use of these exits gains more than %.2f"
              .formatted(measured, limit());
    };
  }

  private static boolean isOfText(Finding finding) {
    return finding.setting().get(DecodingSetting.DRAFT_SOURCE).isPresent();
  }
}
