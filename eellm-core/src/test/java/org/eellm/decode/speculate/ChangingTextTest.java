package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.checkpoint.DraftTable;
import org.eellm.config.Architecture;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.ModelConfig;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Head;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A text that is easy to foresee and then is not, by turns of 200 tokens, while drafters stay as
 * sure as they were; exits after layers 2 and 4 of 8, whose steps take what this says.
 */
final class ChangingTextTest {
  private static final double BRANCH = 1e-5; // seconds
  private static final int TURN = 200;
  private static final Tokens TEXT = new Tokens(List.of(1), 1);

  private final Random random = new Random(1);
  private final List<Head> heads;
  private final OnlineCostModel costs;
  private final DraftPlanner planner;
  private final DraftPlan plan;
  private double seconds;
  private double furtherRow;
  private int unseen = 10;

  ChangingTextTest() {
    ModelConfig shape =
        ModelConfig.builder()
            .vocabSize(264)
            .hiddenSize(32)
            .numLayers(8)
            .numHeads(4)
            .numKeyValueHeads(2)
            .ffnHiddenSize(48)
            .maxPositions(96)
            .build();
    ExitLayout exits = new ExitLayout(List.of(2, 4), true, false, false, false);
    StoredDecoder model =
        new StoredDecoder(
            StoredDecoder.Part.whole(new Architecture(shape, exits), MatrixQuantization.NONE),
            Map.of(),
            List.of(),
            () -> {});
    costs = new OnlineCostModel(model, true);
    heads = new ArrayList<>(model.allHeads());
    Head last = heads.getLast();
    heads.add(new Head(last.index() + 1, HeadId.DRAFT_HEAD, last.layer(), last.tap(), true));
    planner = new DraftPlanner(heads, costs, DraftTable.none());
    plan = planner.plan(DraftSource.BOTH, DraftMemory.OWN);
  }

  private double take(double branches, int rows) {
    double taken = branches * BRANCH * (1 + furtherRow * (rows - 1));
    seconds += taken;
    return taken;
  }

  /** Lets a drafter draft; how many tokens. */
  private int draft(Head head, double holds) {
    int length = 0;
    boolean goesOn = plan.asks(head.index(), 0);
    int rows = unseen;
    while (goesOn) {
      if (head.isExit()) {
        double taken = take(head.tap(), 1);
        costs.addBranches(0, head.tap(), 1, taken);
        costs.addHead(head.index(), true, 1, take(1, 1));
        costs.addStep(taken + 2 * BRANCH);
        seconds += BRANCH;
      } else {
        costs.addDraftHead(rows, take(3, rows));
        rows = 1;
        unseen = 0;
      }
      double margin =
          random.nextDouble() < holds ? 0.6 + 0.4 * random.nextDouble() : random.nextDouble();
      goesOn = plan.keepsDrafting(margin);
      length += goesOn ? 1 : 0;
      goesOn = goesOn && plan.asks(head.index(), length);
    }
    return length;
  }

  /** Writes a turn; how much faster than the full model alone. */
  private double write(double holds) {
    double before = seconds;
    int tokens = 0;
    while (tokens < TURN) {
      planner.begin(1);
      plan.begin(TEXT, TURN - tokens, unseen);
      int drafts = 0;
      int below = 0;
      for (Head head : heads) {
        int drafted = head.id().equals(HeadId.FINAL) ? 0 : draft(head, holds);
        below = drafted > 0 && head.isExit() ? head.tap() : below;
        drafts += drafted;
      }
      if (below > 0) {
        costs.addBranches(0, below, 1, take(below, 1)); // the newest token's way up
      }
      double above = take(16 - below, drafts + 1);
      double last = take(2, drafts + 1);
      costs.addBranches(below, 16, drafts + 1, above);
      costs.addHead(2, false, drafts + 1, last);
      costs.addStep(above + last + BRANCH);
      seconds += BRANCH;
      int accepted = 0;
      while (accepted < drafts && random.nextDouble() < holds) {
        accepted++;
      }
      plan.onVerified(drafts, accepted);
      tokens += accepted + 1;
      unseen += accepted + 1;
    }
    return tokens * 19 * BRANCH / (seconds - before);
  }

  /** What a further row costs; least gains of the first easy turn, later ones and others. */
  static Stream<Arguments> prices() {
    double[][] prices = {
      {0.05, 2, 1.2, 0.955}, {0.2, 1.5, 0.95, 0.94}, {0.5, 1, 0.9, 0.9}, {1, 0.6, 0.85, 0.87}
    };
    return Stream.of(prices)
        .flatMap(
            price ->
                IntStream.range(0, 10)
                    .mapToObj(seed -> Arguments.of(seed, price[0], price[1], price[2], price[3])));
  }

  @ParameterizedTest
  @MethodSource("prices")
  void plan_textThatChangesItsNature_isHardlySlowerThanTheFullModelAlone(
      int seed, double row, double first, double easy, double hard) {
    random.setSeed(seed);
    furtherRow = row;
    assertThat(write(0.95)).isGreaterThan(first);
    assertThat(write(0.03)).isGreaterThan(hard);
    for (int turn = 0; turn < 4; turn++) {
      assertThat(write(0.95)).isGreaterThan(easy);
      assertThat(write(0.03)).isGreaterThan(hard);
    }
  }

  @ParameterizedTest
  @CsvSource({"0.05, 0.9, 2.1", "0.05, 0.8, 1.65", "0.05, 0.7, 1.35", "0.2, 0.9, 1.5"})
  void plan_draftsThatMostlyHold_gain(double row, double holds, double gain) {
    furtherRow = row;
    write(holds);
    double sum = 0;
    for (int turn = 0; turn < 10; turn++) {
      sum += write(holds);
    }
    assertThat(sum / 10).isGreaterThan(gain);
  }
}
