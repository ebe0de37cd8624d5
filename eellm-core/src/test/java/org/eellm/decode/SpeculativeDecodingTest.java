package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.IntStream;
import org.eellm.checkpoint.DraftTable;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Penalties;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.TokenDistribution;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.speculate.DraftSource;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

final class SpeculativeDecodingTest extends WithSmallModel {
  private static List<Result> generate(Decoder decoder, List<Request> requests) {
    return Generator.generate(
        decoder, Limits.of(decoder).withBatchSize(32), requests, TokenListener.none());
  }

  private static List<Integer> prompt(int seed) {
    Random random = new Random(seed);
    return random.ints(1 + random.nextInt(40), 0, SmallModel.VOCABULARY).boxed().toList();
  }

  @Test
  void generate_twoHundredPromptsGreedily_isTheFullModelsText() {
    try (Decoder withBlocks = SmallModel.withBlocks()) {
      for (Decoder decoder : List.of(model, withBlocks)) {
        List<Request> full = new ArrayList<>();
        List<Request> drafted = new ArrayList<>();
        int first = decoder == model ? 0 : 100;
        for (int i = first; i < first + 100; i++) {
          int maxTokens = 1 + i % 24;
          int layer = List.of(1, 2, 4).get(i % 3);
          DraftLength length =
              i % 2 == 0
                  ? new DraftLength.Fixed(1 + i % 7)
                  : new DraftLength.Adaptive(10, 0.05 + 0.02 * (i % 5));
          full.add(
              new Request(prompt(i), maxTokens, Set.of(), DecodingMethod.full(), Sampler.greedy()));
          drafted.add(
              new Request(
                  prompt(i),
                  maxTokens,
                  Set.of(),
                  new DecodingMethod.Speculative(layer, length),
                  Sampler.greedy()));
        }
        List<Result> expected = generate(decoder, full);
        List<Result> ours = generate(decoder, drafted);

        for (int i = 0; i < ours.size(); i++) {
          assertThat(ours.get(i).ids()).as("prompt %d", i).isEqualTo(expected.get(i).ids());
        }
        int judged = ours.stream().mapToInt(result -> result.usage().draftedTokens()).sum();
        int accepted = ours.stream().mapToInt(result -> result.usage().acceptedTokens()).sum();
        assertThat(accepted).isBetween(1, judged - 1); // both verdicts have been tried
        assertThat(ours.stream().flatMap(result -> result.tokens().stream()))
            .filteredOn(GeneratedToken::drafted)
            .hasSize(accepted);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 32})
  void generate_adaptiveDraftsAndShortList_isTheFullModelsText(int batchSize) {
    List<Integer> listed = IntStream.range(0, 100).map(i -> 2 * i).boxed().toList();
    for (DataType type : DataType.values()) {
      try (Decoder decoder = SmallModel.withWideHeads(type)) {
        for (Vocabulary vocabulary :
            List.of(
                Vocabulary.of(SmallModel.VOCABULARY),
                new Vocabulary(SmallModel.VOCABULARY, listed))) {
          Limits limits = Limits.of(decoder).withBatchSize(batchSize).withVocabulary(vocabulary);
          List<Result> full = texts(decoder, limits, DecodingMethod.full());
          List<Result> drafted =
              texts(decoder, limits, new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH));

          assertThat(drafted)
              .extracting(Result::ids)
              .isEqualTo(full.stream().map(Result::ids).toList());
          assertThat(drafted)
              .extracting(result -> result.usage().draftedTokens())
              .anyMatch(count -> count > 0);
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8, 32})
  void generate_draftsOfTheText_isTheFullModelsText(int batchSize) {
    for (ExitLayout exits : List.of(NO_EXITS, new ExitLayout(List.of(2), true, true, true, true))) {
      for (DataType type : DataType.values()) {
        try (Decoder decoder = SmallModel.of(exits, type)) {
          // Of few ids a text soon repeats itself.
          Limits limits =
              Limits.of(decoder).withBatchSize(batchSize).withVocabulary(Vocabulary.of(3));
          List<Result> full = texts(decoder, limits, DecodingMethod.full());
          for (DraftSource source : List.of(DraftSource.TEXT, DraftSource.BOTH)) {
            List<Result> drafted =
                texts(decoder, limits, new DecodingMethod.AdaptiveDrafts(source));

            assertThat(drafted)
                .extracting(Result::ids)
                .isEqualTo(full.stream().map(Result::ids).toList());
            int judged = drafted.stream().mapToInt(text -> text.usage().draftedTokens()).sum();
            int held = drafted.stream().mapToInt(text -> text.usage().acceptedTokens()).sum();
            assertThat(held).isBetween(1, judged - 1); // both verdicts have been tried
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 8})
  void generate_tableOfDrafts_isTheFullModelsText(int batchSize) {
    for (ExitLayout exits : List.of(NO_EXITS, new ExitLayout(List.of(2), true, true, true, true))) {
      try (Decoder decoder = SmallModel.of(exits, DataType.BFLOAT16)) {
        Limits plain =
            Limits.of(decoder).withBatchSize(batchSize).withVocabulary(Vocabulary.of(12));
        List<Result> full = texts(decoder, plain, DecodingMethod.full());
        int[] written =
            full.stream().flatMap(text -> text.ids().stream()).mapToInt(id -> id).toArray();
        Vocabulary vocabulary = new Vocabulary(12, List.of(), DraftTable.count(written, 1000));
        Limits limits = plain.withVocabulary(vocabulary);
        List<Result> drafted =
            texts(decoder, limits, new DecodingMethod.AdaptiveDrafts(DraftSource.BOTH));

        assertThat(drafted)
            .extracting(Result::ids)
            .isEqualTo(full.stream().map(Result::ids).toList());
        int judged = drafted.stream().mapToInt(text -> text.usage().draftedTokens()).sum();
        int held = drafted.stream().mapToInt(text -> text.usage().acceptedTokens()).sum();
        assertThat(held).isBetween(1, judged - 1); // both verdicts have been tried
      }
    }
  }

  /** The second time, replies of the first draft; pages of the first are in use by then. */
  @ParameterizedTest
  @ValueSource(ints = {1, 8})
  void generate_requestsThatCameBefore_areDraftedAndTheFullModelsText(int batchSize) {
    for (ExitLayout exits : List.of(NO_EXITS, new ExitLayout(List.of(2), true, true, true, true))) {
      try (Decoder decoder = SmallModel.of(exits, DataType.BFLOAT16)) {
        Limits limits = Limits.of(decoder).withBatchSize(batchSize).withCacheTokens(batchSize * 80);
        List<List<Integer>> full =
            texts(decoder, limits, DecodingMethod.full()).stream().map(Result::ids).toList();
        for (DraftSource source : List.of(DraftSource.TEXT, DraftSource.BOTH)) {
          DecodingMethod drafts = new DecodingMethod.AdaptiveDrafts(source);
          List<Request> twice = new ArrayList<>(requests(drafts));
          twice.addAll(requests(drafts));
          List<Result> drafted = Generator.generate(decoder, limits, twice, TokenListener.none());

          assertThat(drafted.subList(0, 40)).extracting(Result::ids).isEqualTo(full);
          assertThat(drafted.subList(40, 80)).extracting(Result::ids).isEqualTo(full);
          if (source == DraftSource.TEXT) {
            int again =
                drafted.subList(40, 80).stream()
                    .mapToInt(text -> text.usage().acceptedTokens())
                    .sum();
            int before =
                drafted.subList(0, 40).stream()
                    .mapToInt(text -> text.usage().acceptedTokens())
                    .sum();
            assertThat(again).isGreaterThan(before + 200);
          }
        }
      }
    }
  }

  @Test
  void generate_repeatedTextWithoutExits_takesFewerStepsThanTokens() {
    try (Decoder decoder = SmallModel.of(NO_EXITS, DataType.FLOAT32);
        Batch batch = new Batch(decoder, Limits.of(decoder).withVocabulary(Vocabulary.of(3)))) {
      Request request =
          new Request(List.of(3, 1, 4), 90, Set.of(), DecodingMethod.lossless(), Sampler.greedy());
      int[] tokens = {0};
      batch.add(
          batch.job(
              request,
              "the prompt",
              token -> {
                tokens[0]++;
                return TokenListener.Reaction.CONTINUE;
              }));
      int steps = 0;
      while (!batch.isIdle()) {
        batch.step();
        steps++;
      }

      assertThat(tokens[0]).isEqualTo(90);
      assertThat(steps).isLessThan(80);
    }
  }

  private static final ExitLayout NO_EXITS = new ExitLayout(List.of(), false, false, false, false);

  private static List<Request> requests(DecodingMethod decoding) {
    return IntStream.range(0, 40)
        .mapToObj(
            i ->
                new Request(
                    prompt(i),
                    30,
                    Set.of(),
                    decoding,
                    i % 2 == 0 ? Sampler.greedy() : new RandomSampler(0.9, 0, 0.9, 1, i)))
        .toList();
  }

  /** Greedy texts and drawn ones, of 40 prompts. */
  private static List<Result> texts(Decoder decoder, Limits limits, DecodingMethod decoding) {
    return Generator.generate(decoder, limits, requests(decoding), TokenListener.none());
  }

  @Test
  void generate_endTokenInADraft_endsThere() {
    DecodingMethod speculative = new DecodingMethod.Speculative(4, new DraftLength.Fixed(6));
    for (int seed = 0; seed < 10; seed++) {
      List<Integer> text =
          generate(
                  model,
                  List.of(
                      new Request(
                          prompt(seed), 20, Set.of(), DecodingMethod.full(), Sampler.greedy())))
              .getFirst()
              .ids();
      int end = text.get(3 + seed);

      Result result =
          generate(
                  model,
                  List.of(
                      new Request(prompt(seed), 20, Set.of(end), speculative, Sampler.greedy())))
              .getFirst();

      assertThat(result.reason()).isEqualTo(FinishReason.END_TOKEN);
      assertThat(result.ids()).isEqualTo(text.subList(0, text.indexOf(end) + 1));
    }
  }

  @Test
  void generate_sampled_isDistributedAsTheFullModelSays() {
    int ids = 5;
    int draws = 3000;
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder small = SmallModel.of(exits, DataType.FLOAT32)) {
      double[] exact = jointOfThree(small, ids);

      DecodingMethod drafting = new DecodingMethod.Speculative(2, new DraftLength.Fixed(2));
      assertThat(deviation(counts(small, ids, draws, drafting), exact, draws)).isLessThan(1);
      DecodingMethod sureDrafts =
          new DecodingMethod.Speculative(1, new DraftLength.Adaptive(3, 0.3));
      assertThat(deviation(counts(small, ids, draws, sureDrafts), exact, draws)).isLessThan(1);
      assertThat(deviation(counts(small, ids, draws, DecodingMethod.full()), exact, draws))
          .isLessThan(1);
      // That the test tells distributions apart: the drafting exit's own is another.
      DecodingMethod exit = new DecodingMethod.EarlyExit(ExitPolicies.fixed(2));
      assertThat(deviation(counts(small, ids, draws, exit), exact, draws)).isGreaterThan(10);
    }
  }

  @Test
  void generate_sampled_isTheFullModelsTextOfTheSameSeed() {
    List<Integer> full = new ArrayList<>();
    List<Integer> drafting = new ArrayList<>();
    int accepted = 0;
    for (int seed = 0; seed < 20; seed++) {
      full.addAll(sampled(seed, DecodingMethod.full()).ids());
      Result drafted = sampled(seed, new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)));
      drafting.addAll(drafted.ids());
      accepted += drafted.usage().acceptedTokens();
    }

    assertThat(drafting).isEqualTo(full);
    assertThat(accepted).isPositive();
  }

  private Result sampled(int seed, DecodingMethod decoding) {
    Request request =
        new Request(PROMPT, 12, Set.of(), decoding, new RandomSampler(0.8, 0, 0.95, 1.1, seed));
    return Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none())
        .getFirst();
  }

  private static final List<Integer> PROMPT = List.of(3, 1, 4, 1);

  /** How often each text of three tokens comes. */
  private static long[] counts(Decoder small, int ids, int draws, DecodingMethod decoding) {
    List<Request> requests =
        IntStream.range(0, draws)
            .mapToObj(
                seed ->
                    new Request(
                        PROMPT, 3, Set.of(), decoding, new RandomSampler(1.3, 4, 0.97, 1.1, seed)))
            .toList();
    long[] counts = new long[ids * ids * ids];
    Limits limits = Limits.of(small).withVocabulary(Vocabulary.of(ids)).withBatchSize(64);
    for (Result result : Generator.generate(small, limits, requests, TokenListener.none())) {
      counts[index(result.ids(), ids)]++;
    }
    return counts;
  }

  private static int index(List<Integer> text, int ids) {
    return text.stream().reduce(0, (sum, id) -> sum * ids + id);
  }

  /** The probability of each text of three tokens, from the full model's own distributions. */
  private static double[] jointOfThree(Decoder small, int ids) {
    double[] joint = new double[ids * ids * ids];
    Arrays.fill(joint, 1);
    for (int length = 0; length < 3; length++) {
      for (int i = 0; i < joint.length; i++) {
        List<Integer> text = List.of(i / (ids * ids), i / ids % ids, i % ids);
        List<Integer> prefix = new ArrayList<>(PROMPT);
        prefix.addAll(text.subList(0, length));
        int next = text.get(length);
        double[] probability = {0};
        Sampler asking =
            prediction -> {
              float[] logits = prediction.logits();
              new Penalties(1.1, 0, 0).apply(logits, prediction.tokens());
              probability[0] = TokenDistribution.of(logits, 1.3, 4).topP(0.97).probability(next);
              return 0;
            };
        Generator.generate(
            small,
            Limits.of(small).withVocabulary(Vocabulary.of(ids)),
            List.of(new Request(prefix, 1, Set.of(), DecodingMethod.full(), asking)),
            TokenListener.none());
        joint[i] *= probability[0];
      }
    }
    return joint;
  }

  /**
   * Chi square over what it exceeds once in a thousand times. Texts that are expected less than
   * five times count as one.
   */
  private static double deviation(long[] counts, double[] probabilities, int draws) {
    double chiSquare = 0;
    int cells = 0;
    double rareExpected = 0;
    long rare = 0;
    for (int i = 0; i < counts.length; i++) {
      double expected = probabilities[i] * draws;
      if (expected < 5) {
        rareExpected += expected;
        rare += counts[i];
      } else {
        chiSquare += (counts[i] - expected) * (counts[i] - expected) / expected;
        cells++;
      }
    }
    if (rareExpected < 1e-9 && rare > 0) {
      return Double.POSITIVE_INFINITY; // something that cannot be
    }
    if (rareExpected >= 5) {
      chiSquare += (rare - rareExpected) * (rare - rareExpected) / rareExpected;
      cells++;
    }
    int freedom = cells - 1;
    double variance = 2.0 / (9 * freedom); // Wilson and Hilferty
    return chiSquare / (freedom * Math.pow(1 - variance + 3.09 * Math.sqrt(variance), 3));
  }

  @Test
  void constructors_impossibleSettings_areRefusedByName() {
    assertThatThrownBy(() -> new DraftLength.Fixed(0))
        .isInstanceOf(ConfigException.class)
        .hasMessage("draft-length: 0 is not a whole number in 1..64");
    assertThatThrownBy(() -> new DraftLength.Adaptive(2, 1.5))
        .isInstanceOf(ConfigException.class)
        .hasMessage("draft-margin: 1.5 is outside [0, 1]; use a number from 0 to 1");
    DraftLength length = new DraftLength.Fixed(2);
    assertThatThrownBy(() -> new DecodingMethod.Speculative(5, length).heads(model.allHeads()))
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            "draft-exit: layer 5 is the model's last, which drafts no faster than the full model;"
                + " use an exit below");
    assertThatThrownBy(() -> new DecodingMethod.Speculative(3, length).heads(model.allHeads()))
        .isInstanceOf(ConfigException.class)
        .hasMessage("exits: no exit after layer 3; this model has exits after [1, 2, 4]");
  }
}
