package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.config.HeadId;
import org.eellm.config.MatrixQuantization;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.StoredDecoder;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Drafts of exits, beside what exits say alone. */
final class DraftsOfExitsTest {
  private static final int MOST = 4;
  private static final double MARGIN = 0.15;
  private static final List<Integer> EXITS = List.of(1, 4);
  private static final int TEXTS = 8;

  /** What exits say behind texts, which tests share. */
  private static final Map<Place, Choice> CHOICES = new HashMap<>();

  private static StoredDecoder model;
  private static Limits limits;

  @BeforeAll
  static void makeModel() {
    model = StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE);
    KernelRunner.pack(model); // once, for thousands of texts
    limits = Limits.of(model).withVocabulary(Vocabulary.of(6)).withBatchSize(1);
  }

  @AfterAll
  static void closeModel() {
    model.close();
  }

  private static Request request(List<Integer> prompt, DecodingMethod decoding) {
    return new Request(prompt, 40, Set.of(), decoding, Sampler.greedy());
  }

  /** What a text's drafts have to be, by what exits say of it. */
  @FunctionalInterface
  private interface Expected {
    /**
     * @param room most tokens of the draft
     */
    List<Integer> of(List<Integer> text, int room);
  }

  private static List<Integer> prompt(int seed) {
    return new Random(seed).ints(5, 0, 6).boxed().toList();
  }

  private static RecordedDrafts write(List<Integer> prompt, DecodingMethod method) {
    RecordedDrafts drafts = new RecordedDrafts();
    try (Engine engine = Engine.start(model, limits)) {
      assertThat(engine.submit(request(prompt, method), drafts)).isPresent();
      drafts.await();
    }
    return drafts;
  }

  private static final DraftLength SURE = new DraftLength.Adaptive(MOST, MARGIN);

  /**
   * Lets a method continue some prompts.
   *
   * @return its drafts, each of which is the one expected
   */
  private static List<Draft> requireDrafts(DecodingMethod method, Expected expected) {
    List<Draft> all = new ArrayList<>();
    for (int seed = 0; seed < TEXTS; seed++) {
      List<Integer> prompt = prompt(seed);
      RecordedDrafts drafts = write(prompt, method);
      List<Integer> full =
          Generator.generate(
                  model,
                  limits,
                  List.of(request(prompt, DecodingMethod.full())),
                  TokenListener.none())
              .getFirst()
              .ids();
      assertThat(drafts.await().ids()).isEqualTo(full);
      for (Draft draft : drafts.all()) {
        List<Integer> text = new ArrayList<>(prompt);
        text.addAll(full.subList(0, draft.step()));
        int room = Math.min(MOST, 40 - draft.step() - 1);
        assertThat(draft.ids()).as("behind %s", text).isEqualTo(expected.of(text, room));
      }
      all.addAll(drafts.all());
    }
    assertThat(all).isNotEmpty();
    return all;
  }

  /** LayerSkip's (arXiv 2404.16710). */
  @Test
  void generate_draftsOfFixedLength_areTheExitsTokens() {
    requireDrafts(
        new DecodingMethod.Speculative(1, new DraftLength.Fixed(MOST)),
        (text, room) -> drafted(text, room, List.of(1), 0));
  }

  /** Kangaroo's (arXiv 2404.18911). */
  @Test
  void generate_draftsOfAnExitThatIsSure_endWhereItIsNot() {
    List<Draft> drafts =
        requireDrafts(
            new DecodingMethod.Speculative(4, SURE),
            (text, room) -> drafted(text, room, List.of(4), MARGIN));
    assertThat(drafts).extracting(draft -> draft.ids().size()).contains(1, MOST);
  }

  /** DSSD's (arXiv 2407.21082). */
  @Test
  void generate_draftsOfSeveralExits_areOfTheFirstThatIsSure() {
    List<Draft> drafts =
        requireDrafts(
            new DecodingMethod.Speculative(EXITS, SURE),
            (text, room) -> drafted(text, room, EXITS, MARGIN));
    assertThat(drafts)
        .extracting(draft -> draft.exit().orElseThrow())
        .contains(HeadId.exit(1), HeadId.exit(4));
  }

  /** HiSpec's (arXiv 2510.01336). */
  @Test
  void generate_draftsThatPassAnotherExit_areWhatBothSay() {
    List<Draft> drafts =
        requireDrafts(
            new DecodingMethod.Speculative(List.of(1), SURE, 4, 0), DraftsOfExitsTest::filtered);
    List<Draft> alone =
        requireDrafts(
            new DecodingMethod.Speculative(1, SURE),
            (text, room) -> drafted(text, room, List.of(1), MARGIN));
    assertThat(held(drafts)).as("share that holds").isGreaterThan(held(alone));
  }

  /** SWIFT's (arXiv 2410.06916): layers 1, 2 and 5 of five, and the final head. */
  @Test
  void generate_draftsThatSkipLayers_areWhatStepsByHandGive() {
    List<Draft> drafts =
        requireDrafts(
            new DecodingMethod.Speculative(List.of(2), new DraftLength.Fixed(MOST), 0, 5),
            DraftsOfExitsTest::skipping);
    assertThat(held(drafts)).isBetween(0.01, 0.99); // both verdicts have been tried
  }

  /** The text before its last token passes all layers, and what follows the others alone. */
  private static List<Integer> skipping(List<Integer> text, int room) {
    List<Integer> tokens = new ArrayList<>(text);
    try (ModelRunner runner = Backends.runner(model, Vocabulary.of(6), 8)) {
      pass(runner, tokens, 0, text.size() - 1, List.of(0, model.endBranch()));
      for (int i = 0; i < room; i++) {
        ForwardBatch row = pass(runner, tokens, tokens.size() - 1, 1, List.of(0, 4, 8, 10));
        tokens.add(runner.predict(model.allHeads().getLast(), row, new int[] {0}, 1).best(0));
      }
    }
    return tokens.subList(text.size(), tokens.size());
  }

  /**
   * @param branches beginnings and ends
   */
  private static ForwardBatch pass(
      ModelRunner runner, List<Integer> tokens, int first, int count, List<Integer> branches) {
    ForwardBatch rows = new ForwardBatch();
    rows.begin(IntStream.range(0, 8).toArray());
    for (int row = 0; row < count; row++) {
      rows.add(runner.allocateSlot(), first + row);
    }
    runner.embed(rows, IntStream.range(0, count).map(i -> tokens.get(first + i)).toArray());
    for (int i = 0; i < branches.size(); i += 2) {
      runner.run(branches.get(i), branches.get(i + 1), rows);
    }
    return rows;
  }

  private static double held(List<Draft> drafts) {
    int ids = drafts.stream().mapToInt(draft -> draft.ids().size()).sum();
    return (double) drafts.stream().mapToInt(Draft::accepted).sum() / ids;
  }

  /** DEL's (arXiv 2504.05598) are of whichever exit is worth most at the time. */
  @Test
  void generate_draftsWhoseExitAdapts_areTheTokensOfTheExitThatIsNamed() {
    int count = 0;
    for (int seed = 0; seed < TEXTS; seed++) {
      List<Integer> prompt = prompt(seed);
      RecordedDrafts drafts = write(prompt, new DecodingMethod.AdaptiveDrafts(DraftSource.EXITS));
      count += drafts.all().size();
      for (Draft draft : drafts.all()) {
        List<Integer> text = new ArrayList<>(prompt);
        text.addAll(drafts.await().ids().subList(0, draft.step()));
        int layer = ((HeadId.Exit) draft.exit().orElseThrow()).layer();
        assertThat(draft.ids()).isEqualTo(drafted(text, draft.ids().size(), List.of(layer), 0));
      }
    }
    assertThat(count).isPositive();
  }

  /** What the first exit that is sure says, until none is. */
  private static List<Integer> drafted(
      List<Integer> text, int room, List<Integer> layers, double margin) {
    List<Integer> drafts = new ArrayList<>();
    while (drafts.size() < room) {
      Optional<Choice> sure =
          layers.stream()
              .map(layer -> choice(text, drafts, layer))
              .filter(choice -> choice.margin() >= margin)
              .findFirst();
      if (sure.isEmpty()) {
        break;
      }
      drafts.add(sure.get().id());
    }
    return drafts;
  }

  /** Exit 1's, as far as exit 4 says the same, and so on behind what exit 4 says, if it is sure. */
  private static List<Integer> filtered(List<Integer> text, int room) {
    List<Integer> drafts = new ArrayList<>();
    for (boolean more = true; more; ) {
      int passed = drafts.size();
      List<Integer> whole = new ArrayList<>(text);
      whole.addAll(drafts);
      drafts.addAll(drafted(whole, room - passed, List.of(1), MARGIN));
      more = drafts.size() > passed;
      while (passed < drafts.size()
          && choice(text, drafts.subList(0, passed), 4).id() == drafts.get(passed)) {
        passed++;
      }
      drafts.subList(passed, drafts.size()).clear();
      Choice next = choice(text, drafts, 4);
      more = more && drafts.size() < room && next.margin() >= MARGIN;
      if (more) {
        drafts.add(next.id());
      }
    }
    return drafts;
  }

  private record Place(List<Integer> text, int layer) {}

  private record Choice(int id, double margin) {}

  private static Choice choice(List<Integer> text, List<Integer> drafts, int layer) {
    List<Integer> whole = new ArrayList<>(text);
    whole.addAll(drafts);
    return CHOICES.computeIfAbsent(new Place(whole, layer), DraftsOfExitsTest::choice);
  }

  /** An exit's best token behind a text, and how far it is ahead, by the definition. */
  private static Choice choice(Place place) {
    List<Integer> ids = new ArrayList<>(place.text());
    ids.add(0);
    List<Choice> choices = new ArrayList<>();
    Request score =
        Request.score(
            ids,
            ids.size() - 1,
            List.of(HeadId.exit(place.layer())),
            (prediction, _) -> {
              List<Double> best =
                  prediction.top(2).stream().map(each -> Math.exp(each.logProbability())).toList();
              choices.add(new Choice(prediction.best(), 1 - best.getLast() / best.getFirst()));
            });
    List<Result> ignored = Generator.generate(model, limits, List.of(score), TokenListener.none());
    assertThat(ignored).hasSize(1);
    return choices.getFirst();
  }
}
