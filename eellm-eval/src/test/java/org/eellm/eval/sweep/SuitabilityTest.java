package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.ExitTrace.ExitPrediction;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.Suitability.Exit;
import org.eellm.eval.sweep.Suitability.Finding;
import org.eellm.eval.sweep.Suitability.Verdict;
import org.eellm.eval.sweep.Sweep.Spread;
import org.junit.jupiter.api.Test;

final class SuitabilityTest {
  private static Suitability of(double depth, boolean trained, Finding... findings) {
    return new Suitability(
        1, 1, 1, trained, 8, List.of(), depth, List.of(findings), Optional.empty());
  }

  private static Finding finding(double threshold, double speedUp, double agreement) {
    return new Finding(
        SweepSetting.atThreshold(threshold),
        speedUp,
        new Spread(speedUp - 0.1, speedUp + 0.1),
        agreement);
  }

  private static Finding drafts(double speedUp) {
    return new Finding(
        SweepSetting.adaptiveDrafts(), speedUp, new Spread(speedUp - 0.1, speedUp + 0.1), 1);
  }

  @Test
  void verdict_ofASettingThatGainsAndAgreesEnough_isYes() {
    Suitability suitability =
        of(8, true, drafts(1), finding(0.5, 1.25, 0.95), finding(0.2, 2, 0.94));

    assertThat(suitability.verdict()).isEqualTo(Verdict.YES);
    assertThat(suitability.reason())
        .isEqualTo(
            "threshold 0.5 has a speed-up of 1.25 (1.15 to 1.35) with 95.0 % of the tokens"
                + " unchanged");
  }

  @Test
  void verdict_whereTokensAreSettledEarlyAlone_isMaybe() {
    Suitability suitability = of(4, false, drafts(1.1));

    assertThat(suitability.verdict()).isEqualTo(Verdict.MAYBE);
    assertThat(suitability.reason())
        .startsWith("lossless has a speed-up of 1.10 (1.00 to 1.20)")
        .endsWith("up to 2.00, of which tuned exits (eellm tune) may get some");
  }

  @Test
  void verdict_whereTokensAreSettledLate_isNo() {
    Suitability suitability = of(7, true, drafts(1.1));

    assertThat(suitability.verdict()).isEqualTo(Verdict.NO);
    assertThat(suitability.reason()).endsWith("no use of these exits gains more than 1.14");
  }

  @Test
  void verdict_ofABusyMachine_isUnknown() {
    Suitability suitability =
        new Suitability(
            1, 1, 1, true, 8, List.of(), 4, List.of(drafts(2)), Optional.of("it was busy"));

    assertThat(suitability.verdict()).isEqualTo(Verdict.UNKNOWN);
    assertThat(suitability.reason()).isEqualTo("it was busy");
  }

  private static List<ExitPrediction> token(double first, boolean one, boolean two) {
    return List.of(new ExitPrediction(first, one), new ExitPrediction(0.99, two));
  }

  /** Exits after layers 2 and 4 of 8; of 20 tokens the first exit has half right and is sure. */
  private static ExitTrace trace() {
    List<List<ExitPrediction>> tokens = new ArrayList<>();
    for (int i = 0; i < 10; i++) {
      tokens.add(token(0.9, true, true));
    }
    for (int i = 0; i < 6; i++) {
      tokens.add(token(0.4, false, true));
    }
    for (int i = 0; i < 4; i++) {
      tokens.add(token(0.3, true, false));
    }
    List<Integer> ids = tokens.stream().map(_ -> 7).toList();
    return new ExitTrace(
        List.of(2, 4),
        8,
        List.of(new ExitTrace.Text(new GreedyContinuation(List.of(1), ids), tokens)));
  }

  @Test
  void candidates_ofATrainedModel_areTheLowestThresholdsThatAgreeEnough() {
    ExitTrace one = trace().only(2);

    assertThat(Suitability.candidates(one, true))
        .containsExactly(
            Map.entry(SweepSetting.textDrafts(), 1.0),
            Map.entry(SweepSetting.adaptiveDrafts(), 1.0),
            Map.entry(SweepSetting.atThreshold(0.45), 1.0));
  }

  @Test
  void candidates_ofCopies_areOfTheExitThatLetsMostLayersBe() {
    SweepSetting threshold =
        SweepSetting.atThreshold(
            DecodingMode.EARLY_EXIT, PolicyName.MAX_PROBABILITY, 0.45, List.of(2));

    assertThat(Suitability.candidates(trace(), false))
        .containsExactly(
            Map.entry(SweepSetting.textDrafts(), 1.0),
            Map.entry(threshold, 1.0),
            Map.entry(SweepSetting.speculative(2, 4, 0.2), 1.0));
  }

  /** Drafts gain what the rounds say, and each round of the full model takes 1 second. */
  private static Suitability timed(List<Double> speedUps, AtomicInteger rounds) {
    SweepRun run =
        new SweepRun(
            requests ->
                requests.stream()
                    .map(
                        request ->
                            request.decoding() instanceof DecodingMethod.AdaptiveDrafts
                                ? result(
                                    1 / speedUps.get(rounds.getAndIncrement() % speedUps.size()))
                                : result(1))
                    .toList(),
            List.of(2, 4),
            Set.of(),
            List.of(List.of(1)),
            3);
    SequencedMap<SweepSetting, Double> agreements = new LinkedHashMap<>();
    agreements.put(SweepSetting.adaptiveDrafts(), 1.0);
    Suitability found = Suitability.of(trace(), true, agreements, run, EvalProgress.NONE);
    assertThat(found.timedTexts()).isEqualTo(1);
    return found;
  }

  private static Result result(double seconds) {
    GeneratedToken token = new GeneratedToken(7, HeadId.FINAL, 8, 1, 0, false, List.of());
    List<GeneratedToken> tokens = Stream.generate(() -> token).limit(3).toList();
    return new Result(tokens, FinishReason.LENGTH, new Usage(1, 0, 0, 0), 0, 0, seconds);
  }

  @Test
  void of_roundsThatAgree_isMeasuredOnce() {
    AtomicInteger rounds = new AtomicInteger(); // of drafts, with those of warm-up
    Suitability clear = timed(List.of(1.5), rounds);

    assertThat(rounds).hasValue(6);
    assertThat(clear.verdict()).isEqualTo(Verdict.YES);
    assertThat(clear.exits()).containsExactly(new Exit(2, 0.7, 0.5), new Exit(4, 0.8, 0.3));
    assertThat(clear.meanDepth()).isCloseTo(0.5 * 2 + 0.3 * 4 + 0.2 * 8, within(1e-9));
    assertThat(clear.limit()).isCloseTo(8 / 3.8, within(1e-9));
  }

  @Test
  void of_roundsOnBothSidesOfWhatIsWorthIt_measuresThatSettingAgain() {
    AtomicInteger rounds = new AtomicInteger();
    Suitability open = timed(List.of(1.1, 1.3), rounds);

    assertThat(rounds).as("six rounds, and sixteen").hasValue(22);
    Finding finding = open.findings().getFirst();
    assertThat(finding.speedUp()).isBetween(1.099, 1.301);
    assertThat(finding.spread().least()).isCloseTo(1.1, within(1e-9));
    assertThat(finding.spread().most()).isCloseTo(1.3, within(1e-9));
  }
}
