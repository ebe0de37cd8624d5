package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.TreeMap;
import org.eellm.decode.cost.Bound;
import org.eellm.decode.request.DecodingMode;
import org.eellm.eval.sweep.DecodingCostModel.Limit;
import org.eellm.eval.sweep.Suitability.Forecast;
import org.eellm.eval.sweep.Suitability.Verdict;
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
            0, List.of(), List.of(), List.of(), new TreeMap<>(), new TreeMap<>(), Optional.empty()),
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
    assertThat(suitability.best(DecodingMode.EARLY_EXIT)).contains(forecast(0.5, 1.25, 0.95));
    assertThat(suitability.best(DecodingMode.RECOMPUTE)).isEmpty();
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
  void verdict_whereOnlyTheOracleGainsEnough_isMaybe() {
    Forecast[] forecasts = {forecast(0.5, 1.25, 0.94), forecast(0.8, 1.1, 0.95)};
    Suitability trained = of(1.3, true, forecasts);
    Suitability copied = of(1.3, false, forecasts);

    assertThat(trained.verdict()).isEqualTo(Verdict.MAYBE);
    assertThat(trained.best(DecodingMode.EARLY_EXIT)).contains(forecasts[1]);
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
