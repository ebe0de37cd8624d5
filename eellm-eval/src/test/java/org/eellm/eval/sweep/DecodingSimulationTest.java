package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.ExitTrace.ExitPrediction;
import org.eellm.eval.ExitTrace.Text;
import org.eellm.eval.GreedyContinuation;
import org.eellm.model.Head;
import org.junit.jupiter.api.Test;

/** Forecasts beside counts of layers and heads done by hand, less those of the first tokens. */
final class DecodingSimulationTest {
  private static final List<Integer> ROWS = List.of(1, 2, 4, 8);

  /**
   * A layer takes 1, a head 0.25 for a row (the exit half of that, and a quarter for a draft), both
   * half as much more for each further one. Two layers take 1.5 where a row follows another one.
   */
  private static final DecodingCostModel COSTS =
      new DecodingCostModel(
          0,
          ROWS,
          ROWS.stream().map(rows -> 1 + 0.5 * (rows - 1)).toList(),
          ROWS.stream().map(rows -> 0.25 + 0.125 * (rows - 1)).toList(),
          new TreeMap<>(Map.of(2, 0.125)),
          new TreeMap<>(Map.of(2, 0.0625)),
          new TreeMap<>(Map.of(2, 1.5)),
          Optional.empty());

  /** Four layers, an exit after layer 2, a prompt of one token; sure, sure, unsure. */
  private static final DecodingSimulation FORECAST =
      new DecodingSimulation(
          new ExitTrace(
              List.of(2),
              4,
              List.of(
                  new Text(
                      new GreedyContinuation(List.of(1), List.of(2, 3, 4)),
                      List.of(
                          List.of(new ExitPrediction(0.9, true)),
                          List.of(new ExitPrediction(0.9, false)),
                          List.of(new ExitPrediction(0.1, true)))))),
          COSTS);

  @Test
  void layer_betweenRowsThatWereMeasured_liesOnTheLine() {
    assertThat(COSTS.layer(1)).isEqualTo(1);
    assertThat(COSTS.layer(3)).isEqualTo(2);
    assertThat(COSTS.layer(100)).isCloseTo(50.5, within(1e-9));
    assertThat(COSTS.head(3)).isEqualTo(0.5);
  }

  @Test
  void full_isAllLayersAndOneHeadForEachToken() {
    assertThat(FORECAST.full()).isEqualTo(2 * 4.25);
  }

  /**
   * 2 layers and the exit twice; then 2 layers, the exit, 2 layers of 3 rows and the final head.
   */
  @Test
  void earlyExit_takesWhatWaitsAlongWithTheTokenThatGoesOn() {
    assertThat(FORECAST.earlyExit(0.5)).isEqualTo(2 * 2.125 + 2.125 + 2 * 2 + 0.25 - 4.25);
    assertThat(FORECAST.earlyExit(1)).isEqualTo(FORECAST.full());
  }

  /** Layers of 1, 2 and 3 rows; the last token passes them all. */
  @Test
  void recompute_beginsAnewWithAllThatLeft() {
    assertThat(FORECAST.recompute(0.5)).isEqualTo(2.125 + 2 * 1.5 + 0.125 + 4 * 2 + 0.375 - 4.25);
    assertThat(FORECAST.recompute(1)).isEqualTo(FORECAST.full());
  }

  /**
   * The first token is the full model's; the exit drafts the second, its row and the draft's pass
   * the upper layers, and as the draft is wrong the third takes another round without drafts.
   */
  @Test
  void speculative_paysForWrongDrafts() {
    double drafting = 2.0625 + 1.5 + 2 * 1.5 + 0.25 * 1.5;
    assertThat(FORECAST.speculative(0, new DraftLength.Adaptive(2, 0.5)))
        .isEqualTo(drafting + 4.25);
  }

  @Test
  void adaptive_isChargedForThePlannersTime() {
    Text text = FORECAST.trace().texts().getFirst();
    DraftPlanner planner = new DraftPlanner(HEADS, COSTS, Vocabulary.of(10).draftTable());
    AtomicLong nanos = new AtomicLong();
    LongSupplier clock = () -> nanos.getAndAdd(500_000_000);

    double charged = FORECAST.adaptive(planner, DraftSource.TEXT, clock);

    assertThat(charged).isEqualTo(adaptive(DraftSource.TEXT, text) + 0.5);
  }

  private static final List<Head> HEADS =
      List.of(new Head(0, HeadId.exit(2), 2, 4, false), new Head(1, HeadId.FINAL, 4, 8, false));

  private static double adaptive(DraftSource source, Text text) {
    DraftPlanner planner = new DraftPlanner(HEADS, COSTS, Vocabulary.of(10).draftTable());
    return new DecodingSimulation(new ExitTrace(List.of(2), 4, List.of(text)), COSTS)
        .adaptive(planner, source, () -> 0);
  }

  /** After a prompt of 60 tokens that is nothing but 1, 2, 3; the exit is as sure of each token. */
  private static Text afterRepetition(double confidence, Integer... ids) {
    List<Integer> prompt = IntStream.range(0, 60).mapToObj(i -> 1 + i % 3).toList();
    return new Text(
        new GreedyContinuation(prompt, List.of(ids)),
        Stream.of(ids).map(id -> List.of(new ExitPrediction(confidence, true))).toList());
  }

  /** The text drafts all that may be drafted, and 4 rows pass all layers. */
  @Test
  void adaptive_textThatRepeats_takesItsOwnDraftsThroughAllLayersAtOnce() {
    Text text = afterRepetition(0.1, 1, 2, 3, 1, 2);

    assertThat(adaptive(DraftSource.TEXT, text)).isEqualTo(4 * 2.5 + 0.625);
    assertThat(adaptive(DraftSource.BOTH, text)).isEqualTo(4 * 2.5 + 0.625);
  }

  /** A draft that is wrong; then a token without drafts, since none are left to be drafted. */
  @Test
  void adaptive_textThatRepeatsNoMore_paysForWrongDrafts() {
    assertThat(adaptive(DraftSource.TEXT, afterRepetition(0.1, 1, 9, 8)))
        .isEqualTo(4 * 1.5 + 0.375 + 4.25);
  }

  /** The exit drafts a token, its row and the draft's pass the upper layers. */
  @Test
  void adaptive_textThatDoesNotRepeat_leavesDraftsToTheExit() {
    Text text =
        new Text(
            new GreedyContinuation(List.of(1), List.of(2, 3, 4)),
            Collections.nCopies(3, List.of(new ExitPrediction(0.95, true))));

    assertThat(adaptive(DraftSource.TEXT, text)).isEqualTo(2 * 4.25);
    assertThat(adaptive(DraftSource.BOTH, text)).isEqualTo(2.0625 + 1.5 + 2 * 1.5 + 0.25 * 1.5);
  }

  /** Settled at layer 2, never before the last, and at layer 2. */
  @Test
  void settledShares_countFromWhereAllHeadsSayTheSame() {
    assertThat(FORECAST.settledShares()).containsExactly(0.0, 2 / 3.0, 0.0, 1 / 3.0);
  }
}
