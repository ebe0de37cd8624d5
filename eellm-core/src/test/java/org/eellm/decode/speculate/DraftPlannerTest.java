package org.eellm.decode.speculate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.eellm.checkpoint.DraftTable;
import org.eellm.config.HeadId;
import org.eellm.decode.SmallModel;
import org.eellm.decode.token.Tokens;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Exits after layers 1, 2 and 4 of 5; what steps take is told to the costs, not measured. */
final class DraftPlannerTest {
  private static final double BRANCH = 1e-5; // seconds
  private static final int CYCLES = 600;
  private static final Tokens TEXT = new Tokens(List.of(1), 1);
  private static Decoder model;

  private OnlineCostModel costs;
  private DraftPlanner planner;
  private int drafted;
  private int full; // cycles without a draft

  @BeforeAll
  static void makeModel() {
    model = SmallModel.plain();
  }

  @AfterAll
  static void closeModel() {
    model.close();
  }

  @BeforeEach
  void begin() {
    costs = new OnlineCostModel(model, true);
    planner = new DraftPlanner(model.allHeads(), costs, DraftTable.none());
  }

  /** What blocks of rows take, for a while. */
  private void learn(double furtherRow) {
    for (int round = 0; round < 40; round++) {
      double total = BRANCH; // of the step beside branches and heads
      for (int rows = 1; rows <= 12; rows++) {
        double seconds = 10 * BRANCH * (1 + furtherRow * (rows - 1));
        costs.addBranches(0, 10, rows, seconds);
        total += seconds;
      }
      for (Head head : model.allHeads()) {
        costs.addHead(head.index(), head.isExit(), 1, 2 * BRANCH);
        total += 2 * BRANCH;
      }
      costs.addStep(total);
    }
  }

  /** Lets one text be written, whose drafts hold with a probability. */
  private void write(double confidence, double holds) {
    Random random = new Random(1);
    DraftPlan plan = planner.plan(DraftSource.EXITS, DraftMemory.SHARED);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
      planner.begin(1);
      plan.begin(TEXT, 64, 0);
      int length = 0;
      boolean keepsDrafting = true;
      while (keepsDrafting) {
        keepsDrafting = asks(plan, length) && plan.keepsDrafting(confidence);
        length += keepsDrafting ? 1 : 0;
      }
      int accepted = 0;
      while (accepted < length && random.nextDouble() < holds) {
        accepted++;
      }
      if (length > 0) {
        plan.onVerified(length, accepted);
      }
      drafted += length;
      full += length == 0 ? 1 : 0;
    }
  }

  private static boolean asks(DraftPlan plan, int length) {
    return model.allHeads().stream()
        .filter(Head::isExit)
        .anyMatch(exit -> plan.asks(exit.index(), length));
  }

  @Test
  void plan_cheapRowsAndGoodDrafts_draftsSeveralTokens() {
    learn(0.05);
    write(0.95, 0.95);

    assertThat((double) drafted / CYCLES).isGreaterThan(2.5);
    assertThat(full).isLessThan(CYCLES / 50);
  }

  @Test
  void plan_cheapRowsAndBadDrafts_leavesItToTheFullModel() {
    learn(0.05);
    write(0.6, 0.02);

    assertThat(full).isGreaterThan(CYCLES * 85 / 100);
  }

  @Test
  void plan_rowsAsDearAsSteps_leavesItToTheFullModel() {
    learn(1);
    write(0.7, 0.7);

    assertThat(full).isGreaterThan(CYCLES * 85 / 100);
  }

  @Test
  void plan_textThatBecomesPredictable_comesToDraftAgain() {
    learn(0.05);
    write(0.6, 0.02);
    drafted = 0;
    write(0.95, 0.95);

    assertThat((double) drafted / CYCLES).isGreaterThan(1.5);
  }

  @Test
  void begin_fixedLengthWhereRowsAreDear_draftsAsManyAllTheSame() {
    learn(1);
    Tokens text = tokens(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3);
    DraftPlan plan = planner.plan(DraftSource.PROMPT, DraftMemory.OWN, new DraftLength.Fixed(5));

    assertThat(plan.begin(text, 64, 0)).isEqualTo(5);
    assertThat(List.of(plan.lookUp(0), plan.lookUp(4))).containsExactly(4, 2);
    assertThat(plan.begin(text, 2, 0)).isEqualTo(2);
  }

  @Test
  void begin_textThatRepeats_draftsWhatFollowed() {
    learn(0.05);
    Tokens text = tokens(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3);
    DraftPlan plan = planner.plan(DraftSource.TEXT, DraftMemory.SHARED);
    planner.begin(1);
    int count = plan.begin(text, 64, 0);

    assertThat(count).isGreaterThan(2);
    List<Integer> drafts = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      drafts.add(plan.lookUp(i));
      text.append(drafts.getLast());
    }
    assertThat(drafts).startsWith(4, 5, 6);
  }

  @Test
  void begin_textThatOnlyTheTableKnows_draftsWhatItHas() {
    int[] counted = new int[60];
    Arrays.setAll(counted, i -> i % 20);
    planner = new DraftPlanner(model.allHeads(), costs, DraftTable.count(counted, 100));
    learn(0.05);
    Tokens text = tokens(99, 4, 5);
    for (DraftSource source : List.of(DraftSource.TEXT, DraftSource.BOTH)) {
      DraftPlan plan = planner.plan(source, DraftMemory.SHARED);
      planner.begin(1);

      assertThat(plan.begin(text, 64, 0)).isGreaterThan(1);
      assertThat(plan.lookUp(0)).isEqualTo(6);
      assertThat(plan.lookUp(1)).isEqualTo(7);
    }
    planner.begin(1);
    assertThat(planner.plan(DraftSource.EXITS, DraftMemory.SHARED).begin(text, 64, 0)).isZero();
  }

  /** A text that each of the four knows, and each goes on with a token of its own. */
  @Test
  void begin_sourceAlone_draftsWhatThatOneHas() {
    int[] counted = new int[60];
    Arrays.setAll(counted, i -> new int[] {4, 5, 20}[i % 3]);
    planner = new DraftPlanner(model.allHeads(), costs, DraftTable.count(counted, 100));
    learn(0.05);
    planner
        .plan(DraftSource.TEXT, DraftMemory.SHARED)
        .onEnd(tokens(1, 2, 3, 4, 5, 30, 31, 32, 33, 34), 10);
    Tokens judged = tokens(4, 5);
    DraftPlan teacher = planner.plan(DraftSource.RECYCLED, DraftMemory.SHARED);
    for (int i = 0; i < 8; i++) {
      planner.begin(1);
      teacher.onPredicted(judged, 40);
      teacher.begin(judged, 64, 0);
    }

    Map<DraftSource, Integer> first = new EnumMap<>(DraftSource.class);
    for (DraftSource source :
        List.of(DraftSource.PROMPT, DraftSource.TABLE, DraftSource.REPLIES, DraftSource.RECYCLED)) {
      DraftPlan plan = planner.plan(source, DraftMemory.SHARED);
      planner.begin(1);
      Tokens text = tokens(1, 2, 3, 4, 5, 10, 11, 1, 2, 3, 4, 5, 10, 11, 1, 2, 3, 4, 5);
      if (plan.begin(text, 64, 0) > 0) {
        first.put(source, plan.lookUp(0));
      }
    }

    assertThat(first)
        .isEqualTo(
            Map.of(
                DraftSource.PROMPT, 10,
                DraftSource.TABLE, 20,
                DraftSource.REPLIES, 30,
                DraftSource.RECYCLED, 40));
  }

  @Test
  void begin_textThatAnotherRequestHad_draftsWhatFollowedThereUnlessMemoryIsOwn() {
    learn(0.05);
    for (DraftMemory writer : List.of(DraftMemory.OWN, DraftMemory.SHARED)) {
      Tokens reply = tokens(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20);
      planner.plan(DraftSource.TEXT, writer).onEnd(reply, 20);
      for (DraftMemory reader : DraftMemory.values()) {
        planner.begin(1);
        DraftPlan plan = planner.plan(DraftSource.TEXT, reader);
        int count = plan.begin(tokens(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 64, 0);

        boolean shared = writer == DraftMemory.SHARED && reader == DraftMemory.SHARED;
        assertThat(count > 0).as("%s to %s", writer, reader).isEqualTo(shared);
        assertThat(shared ? plan.lookUp(0) : 11).isEqualTo(11);
      }
    }
  }

  @Test
  void begin_rowsAsDearAsStepsOrLittleRoom_draftsNoFurther() {
    Tokens text = tokens(1, 2, 3, 4, 5, 6, 1, 2, 3, 4, 5, 6, 1, 2, 3);
    learn(0.05);
    planner.begin(1);
    assertThat(planner.plan(DraftSource.TEXT, DraftMemory.SHARED).begin(text, 1, 0)).isEqualTo(1);
    assertThat(planner.plan(DraftSource.EXITS, DraftMemory.SHARED).begin(text, 64, 0)).isZero();
    costs = new OnlineCostModel(model, true);
    planner = new DraftPlanner(model.allHeads(), costs, DraftTable.none());
    learn(1);
    planner.begin(1);
    assertThat(planner.plan(DraftSource.TEXT, DraftMemory.SHARED).begin(text, 64, 0)).isZero();
  }

  @Test
  void begin_matchesThatNeverHold_comeToNoDrafts() {
    learn(0.15);
    Tokens text = tokens(0);
    DraftPlan plan = planner.plan(DraftSource.TEXT, DraftMemory.SHARED);
    Random random = new Random(1);
    int drafts = 0;
    for (int i = 0; i < 500; i++) {
      planner.begin(1);
      drafts += plan.begin(text, 64, 0);
      // Pairs come again, and what follows them is always something else.
      text.append(random.nextInt(3));
      text.append(random.nextInt(3));
      text.append(100 + i);
    }

    assertThat(drafts).isLessThan(40);
  }

  private static Tokens tokens(Integer... ids) {
    return new Tokens(List.of(ids), 2000);
  }

  @Test
  void begin_batch_draftsInStep() {
    learn(0.02);
    DraftPlan first = planner.plan(DraftSource.EXITS, DraftMemory.SHARED);
    DraftPlan second = planner.plan(DraftSource.EXITS, DraftMemory.SHARED);
    int steps = 0;
    for (int step = 0; step < 50; step++) {
      planner.begin(2);
      first.begin(TEXT, 64, 0);
      second.begin(TEXT, 64, 0);
      assertThat(asks(first, 0)).isEqualTo(asks(second, 0));
      steps += asks(first, 0) ? 1 : 0;
    }

    assertThat(steps).isBetween(10, 48);
  }

  @Test
  void acceptance_judgements_followTheText() {
    AcceptanceRate acceptance = new AcceptanceRate();
    for (int i = 0; i < 200; i++) {
      acceptance.addVerified(0.95, true);
      acceptance.addVerified(0.35, false);
      acceptance.addDraft(List.of(0.95, 0.35).get(i % 2));
    }

    assertThat(acceptance.of(0.97)).isGreaterThan(0.97);
    assertThat(acceptance.of(0.31)).isLessThan(0.05);
    assertThat(acceptance.mean()).isBetween(0.4, 0.6);
  }

  /** Lets a draft head take part that costs as little as an exit's prediction. */
  private Head addDraftHead() {
    Head last = model.allHeads().getLast();
    Head draftHead = new Head(last.index() + 1, HeadId.DRAFT_HEAD, last.layer(), last.tap(), true);
    List<Head> heads = new ArrayList<>(model.allHeads());
    heads.add(draftHead);
    planner = new DraftPlanner(heads, costs, DraftTable.none());
    learn(0.05);
    for (int round = 0; round < 40; round++) {
      costs.addDraftHead(1, 3 * BRANCH);
    }
    return draftHead;
  }

  /** Drafts by the index of who drafts them; all hold as often. */
  private int[] drafts(DraftSource source, int unseen) {
    DraftPlan plan = planner.plan(source, DraftMemory.OWN);
    int[] byHead = new int[model.allHeads().size() + 1];
    for (int cycle = 0; cycle < CYCLES; cycle++) {
      planner.begin(1);
      plan.begin(TEXT, 64, unseen);
      for (int head = 0; head < byHead.length; head++) {
        int length = 0;
        while (plan.asks(head, length) && plan.keepsDrafting(0.9)) {
          length++;
        }
        if (length > 0) {
          plan.onVerified(length, Math.min(length, 1 + cycle % 8));
          byHead[head] += length;
        }
      }
    }
    return byHead;
  }

  @Test
  void plan_cheapDraftHead_draftsInThePlaceOfExits() {
    int draftHead = addDraftHead().index();

    int[] byExits = drafts(DraftSource.EXITS, 0);
    assertThat(byExits[draftHead]).isZero();
    assertThat(byExits[0]).isGreaterThan(CYCLES);
    int[] byHead = drafts(DraftSource.HEAD, 0);
    assertThat(Arrays.stream(byHead).sum()).isEqualTo(byHead[draftHead]).isGreaterThan(CYCLES);
    assertThat(drafts(DraftSource.BOTH, 0)[draftHead]).isGreaterThan(2 * CYCLES);
  }

  @Test
  void plan_textThatADraftHeadCannotSee_draftsByAnExit() {
    int draftHead = addDraftHead().index();

    int[] byHead = drafts(DraftSource.BOTH, DraftPlan.NO_HEAD);

    assertThat(byHead[draftHead]).isZero();
    assertThat(Arrays.stream(byHead).sum()).isGreaterThan(CYCLES);
  }
}
