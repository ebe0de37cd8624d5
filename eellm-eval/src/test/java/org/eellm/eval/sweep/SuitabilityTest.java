package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.eellm.config.HeadId;
import org.eellm.decode.cost.Bound;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.ExitTrace.ExitPrediction;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.DecodingCostModel.Limit;
import org.eellm.eval.sweep.Suitability.Forecast;
import org.eellm.eval.sweep.Suitability.Verdict;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;

final class SuitabilityTest {
  private static Suitability of(double oracle, boolean trained, Forecast... forecasts) {
    return new Suitability(
        1,
        1,
        List.of(),
        1,
        oracle,
        new DecodingCostModel(
            0,
            List.of(),
            List.of(),
            List.of(),
            new TreeMap<>(),
            new TreeMap<>(),
            new TreeMap<>(),
            Optional.empty()),
        trained,
        List.of(forecasts));
  }

  private static Forecast forecast(double threshold, double speedUp, double agreement) {
    return new Forecast(SweepSetting.atThreshold(threshold), speedUp, agreement);
  }

  private static Forecast drafts(double speedUp) {
    return new Forecast(SweepSetting.speculative(1, 2, 0.5), speedUp, 1);
  }

  @Test
  void verdict_ofAForecastThatGainsAndAgreesEnough_isYes() {
    Suitability suitability = of(1.3, true, forecast(0.8, 1.1, 0.99), forecast(0.5, 1.25, 0.95));

    assertThat(suitability.verdict()).isEqualTo(Verdict.YES);
    assertThat(suitability.best()).containsExactly(forecast(0.5, 1.25, 0.95));
    assertThat(suitability.reason())
        .isEqualTo(
            "the model's own exits are enough for a speed-up of 1.25 with at least 95 % of the"
                + " tokens unchanged");
  }

  @Test
  void verdict_whereDraftsAloneGainEnough_isYes() {
    assertThat(of(1.1, true, forecast(0.5, 1.1, 1), drafts(1.2)).verdict()).isEqualTo(Verdict.YES);
  }

  @Test
  void reason_whereAdaptiveDraftsGainMost_saysWhoDrafts() {
    Forecast text = new Forecast(SweepSetting.textDrafts(), 1.5, 1);
    Forecast both = new Forecast(SweepSetting.adaptiveDrafts(), 2, 1);

    assertThat(of(1.1, false, drafts(1.4), text).reason())
        .startsWith("drafts of the text itself, which need no exits, are enough for");
    assertThat(of(1.1, true, drafts(1.4), text, both).reason())
        .startsWith("the model's own exits and drafts of the text itself are enough for");
  }

  /** A kind whose only setting changes too much is told all the same, and does not count. */
  @Test
  void best_tellsTheFastestOfEachKind() {
    Forecast gates =
        new Forecast(SweepSetting.calibrated(DecodingMode.EARLY_EXIT, "gates.json"), 3, 0.9);
    Forecast text = new Forecast(SweepSetting.textDrafts(), 1.1, 1);
    Forecast both = new Forecast(SweepSetting.adaptiveDrafts(), 1.05, 1);
    Suitability suitability =
        of(1.3, true, forecast(0.5, 1.1, 1), gates, drafts(0.9), drafts(0.95), text, both);

    assertThat(suitability.best())
        .containsExactly(forecast(0.5, 1.1, 1), gates, drafts(0.95), text, both);
    assertThat(suitability.verdict()).isEqualTo(Verdict.MAYBE);
    assertThat(suitability.best().stream().map(best -> best.setting().options()))
        .containsExactly(
            "--mode early-exit --policy max-probability --threshold 0.5",
            "--mode early-exit --calibration gates.json",
            "--mode speculative --draft-exit 1 --draft-length 2 --draft-confidence 0.5",
            "--mode speculative --draft-source text",
            "--mode speculative");
  }

  /** Rows cost nothing here: after the first token, 12 drafts and a token in the time of one. */
  @Test
  void of_textThatRepeats_forecastsWhatItsDraftsGain() {
    MeasuredHeads lens = measured(0.25);
    Suitability without = Suitability.of(lens);
    Suitability with = Suitability.of(lens, lens);

    assertThat(without.best().getLast()).isEqualTo(new Forecast(SweepSetting.textDrafts(), 13, 1));
    assertThat(without.best().stream().map(Forecast::setting))
        .doesNotContain(SweepSetting.adaptiveDrafts());
    assertThat(with.best().getLast()).isEqualTo(new Forecast(SweepSetting.adaptiveDrafts(), 13, 1));
  }

  /**
   * Every token leaves after one of two layers; a draft's question takes half a layer. The prompt's
   * two layers are left out.
   */
  @Test
  void of_gates_chargesTheShortListAlone() {
    MeasuredHeads lens = measured(0);
    List<Forecast> forecasts = Suitability.of(lens, lens).forecasts();

    assertThat(forecasts)
        .contains(
            new Forecast(
                SweepSetting.calibrated(DecodingMode.EARLY_EXIT, "gates.json"),
                (13 * 2) / (14 * 1.5 - 2),
                1));
  }

  /** Two layers, an exit after the first, and 14 tokens that go on with the prompt's 1, 2, 3. */
  private static MeasuredHeads measured(double head) {
    List<Integer> prompt = List.of(1, 2, 3, 1, 2, 3);
    List<Integer> ids = IntStream.range(0, 14).mapToObj(i -> 1 + i % 3).toList();
    ExitTrace trace =
        new ExitTrace(
            List.of(1),
            2,
            List.of(
                new ExitTrace.Text(
                    new GreedyContinuation(prompt, ids),
                    Collections.nCopies(14, List.of(new ExitPrediction(1, true))))));
    DecodingCostModel costs =
        new DecodingCostModel(
            0,
            List.of(1, 64),
            List.of(1.0, 1.0),
            List.of(head, head),
            new TreeMap<>(Map.of(1, 1.0)),
            new TreeMap<>(Map.of(1, 0.5)),
            new TreeMap<>(Map.of(1, 1.0)),
            Optional.empty());
    List<Head> heads =
        List.of(new Head(0, HeadId.exit(1), 1, 2, false), new Head(1, HeadId.FINAL, 2, 4, false));
    return new MeasuredHeads(
        trace,
        trace,
        Optional.of(new MeasuredHeads.Calibrated("gates.json", trace, true)),
        costs,
        () -> new DraftPlanner(heads, costs, Vocabulary.of(10).draftTable()),
        () -> 0);
  }

  @Test
  void verdict_whereOnlyTheOracleGainsEnough_isMaybe() {
    Forecast[] forecasts = {forecast(0.5, 1.25, 0.94), forecast(0.8, 1.1, 0.95)};
    Suitability trained = of(1.3, true, forecasts);
    Suitability copied = of(1.3, false, forecasts);

    assertThat(trained.verdict()).isEqualTo(Verdict.MAYBE);
    assertThat(trained.best()).containsExactly(forecasts[1]);
    assertThat(trained.reason())
        .startsWith("the model's own exits gain 1.10 with at least 95 % of the tokens unchanged")
        .contains("early enough for 1.30; better exits");
    assertThat(copied.reason())
        .startsWith("copies of the final head gain 1.10")
        .contains("tuned exits may get some of that (eellm tune)");
  }

  @Test
  void limit_text_saysWhatBindsAndFromWhereRowsAreDear() {
    assertThat(new Limit(Bound.MEMORY, false, OptionalInt.of(8), 1.46).text())
        .isEqualTo(
            "A step of one row is bound by memory; further rows are dear from 8 on, which take 1.46"
                + " times as long.");
    assertThat(new Limit(Bound.ARITHMETIC, true, OptionalInt.empty(), 1.1).text())
        .isEqualTo(
            "A step of one row is bound by arithmetic, and the weights fit the processor's cache;"
                + " no number of rows that was measured is dear: the most take 1.10 times as"
                + " long.");
  }

  @Test
  void verdict_whereNotEvenTheOracleGains_isNo() {
    Suitability suitability = of(1.1, true, forecast(0.5, 1.25, 0.94), drafts(0.9));

    assertThat(suitability.verdict()).isEqualTo(Verdict.NO);
    assertThat(suitability.reason()).endsWith("would gain 1.10");
  }
}
