package org.eellm.decode.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.decode.pipeline.PipelineRanks.assertLikeOneRank;
import static org.eellm.decode.pipeline.PipelineRanks.assertSame;
import static org.eellm.decode.pipeline.PipelineRanks.generate;
import static org.eellm.decode.pipeline.PipelineRanks.greedy;
import static org.eellm.decode.pipeline.PipelineRanks.onRanks;
import static org.eellm.decode.pipeline.PipelineRanks.part;
import static org.eellm.decode.pipeline.PipelineRanks.prompt;
import static org.eellm.decode.pipeline.PipelineRanks.request;
import static org.eellm.decode.pipeline.PipelineRanks.requests;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.decode.Generator;
import org.eellm.decode.GoldenGenerationTest;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Several ranks, as threads, say what one rank says. */
@ExtendWith(OneThread.class)
public final class PipelineGeneratorTest {
  static final List<String> CASES = GoldenCase.NAMES;

  /** Cases that are tried with tensor parallelism as well. */
  private static final Set<String> SHARED = Set.of("llama_mlp_block_gqa", "gpt_mlp_block_own");

  @ParameterizedTest
  @FieldSource("org.eellm.decode.pipeline.PipelineRanks#MESHES")
  void generate_onAMesh_isWhatOneRankSays(Mesh mesh) {
    try (Decoder whole = SmallModel.plain()) {
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), requests(), TokenListener.none());
      assertThat(
              expected.stream()
                  .flatMap(result -> result.tokens().stream())
                  .map(GeneratedToken::head)
                  .collect(Collectors.toSet()))
          .containsExactlyInAnyOrder(HeadId.exit(1), HeadId.exit(2), HeadId.exit(4), HeadId.FINAL);

      int[] bounds = {1, 4, 1000};
      List<List<List<Result>>> results =
          onRanks(
              whole.architecture(),
              mesh,
              (model, world) ->
                  IntStream.of(bounds)
                      .mapToObj(
                          maxPending ->
                              Generator.generate(
                                  model,
                                  world,
                                  Limits.of(model).withMaxPending(maxPending).withBatchSize(3),
                                  requests(),
                                  TokenListener.none()))
                      .toList());

      for (int rank = 0; rank < mesh.size(); rank++) {
        for (List<Result> ours : results.get(rank)) {
          if (mesh.coordinate(rank).pp() == 0) {
            assertSame(ours, expected);
          } else {
            assertThat(ours).isEmpty();
          }
        }
      }
    }
  }

  @ParameterizedTest
  @FieldSource("org.eellm.decode.pipeline.PipelineRanks#MESHES")
  void generate_headsWithMlpsAndBlocks_isWhatOneRankSays(Mesh mesh) {
    try (Decoder whole = SmallModel.withBlocks()) {
      assertLikeOneRank(whole, mesh, limits -> limits.withMaxPending(3), requests());
    }
  }

  /** A number in [0, 1) that depends on a text and whom it is asked for, and on nothing else. */
  private static double chance(Prediction prediction, int seed, String what) {
    int hash = Objects.hash(seed, what);
    for (int i = 0; i < prediction.tokens().size(); i++) {
      hash = 31 * hash + prediction.tokens().get(i);
    }
    return new Random(hash).nextDouble();
  }

  /** Tokens leave anywhere, and an exit's guess at a later token holds in two of three cases. */
  private static Request guessed(int seed) {
    Random random = new Random(seed);
    double share = random.nextDouble() / 2;
    ExitPolicy policy =
        prediction -> chance(prediction, seed, prediction.head().id().toString()) < share;
    Sampler sampler =
        prediction -> {
          int id = (int) (SmallModel.VOCABULARY * chance(prediction, seed, "text"));
          boolean errs =
              !prediction.head().id().equals(HeadId.FINAL)
                  && chance(prediction, seed, "errs") < 1.0 / 3;
          return errs ? (id + 1) % SmallModel.VOCABULARY : id;
        };
    return new Request(
            prompt(1 + random.nextInt(30), seed),
            10 + random.nextInt(50),
            Set.of(7),
            policy,
            sampler)
        .withAlternatives(2);
  }

  @ParameterizedTest
  @FieldSource("org.eellm.decode.pipeline.PipelineRanks#PIPELINES")
  void generate_guessesThatHoldAndFail_isWhatOneRankSays(Mesh mesh) {
    for (boolean blocks : new boolean[] {false, true}) {
      try (Decoder whole = blocks ? SmallModel.withBlocks() : SmallModel.plain()) {
        List<Request> requests =
            IntStream.range(0, 8).mapToObj(PipelineGeneratorTest::guessed).toList();
        List<Result> expected =
            Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());
        List<Result> ours =
            generate(
                    whole.architecture(),
                    mesh,
                    limits -> limits.withBatchSize(2).withMaxPending(5),
                    requests,
                    TokenListener.none())
                .getFirst();

        assertSame(ours, expected); // confidences, too, which tell whether the cache is exact
      }
    }
  }

  /** The first stage asks an exit for guesses, some of which hold, though no token leaves there. */
  @ParameterizedTest
  @FieldSource("org.eellm.decode.pipeline.PipelineRanks#PIPELINES")
  void generate_theFullModelOneTextAtATime_guessesAndIsWhatOneRankSays(Mesh mesh) {
    for (boolean blocks : new boolean[] {false, true}) {
      try (Decoder whole = blocks ? SmallModel.withBlocks() : SmallModel.plain()) {
        Set<HeadId> heads = ConcurrentHashMap.newKeySet();
        List<Request> requests =
            IntStream.range(0, 6).mapToObj(seed -> observed(guessed(seed), heads)).toList();
        List<Result> expected =
            Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());
        assertThat(heads).containsExactly(HeadId.FINAL);

        List<Result> ours =
            generate(
                    whole.architecture(),
                    mesh,
                    limits -> limits.withBatchSize(1),
                    requests,
                    TokenListener.none())
                .getFirst();

        assertSame(ours, expected);
        List<HeadId> asked = new ArrayList<>(List.of(HeadId.FINAL));
        if (!blocks) { // an exit with attention would have to see each row
          asked.add(HeadId.exit(mesh.pp() == 5 ? 1 : 2));
        }
        assertThat(heads).containsExactlyInAnyOrderElementsOf(asked);
      }
    }
  }

  @Test
  void generate_theFullModelWhoseGuessesFail_stopsAskingForThem() {
    try (Decoder whole = SmallModel.plain()) {
      AtomicInteger guesses = new AtomicInteger();
      Sampler sampler =
          prediction -> {
            boolean guess = !prediction.head().id().equals(HeadId.FINAL);
            return guess
                ? SmallModel.VOCABULARY - guesses.incrementAndGet()
                : prediction.position() % 7;
          };
      Request request =
          new Request(prompt(3, 1), 60, Set.of(), DecodingMethod.full(), sampler)
              .withAlternatives(2);

      assertLikeOneRank(whole, new Mesh(1, 1, 2), limits -> limits, List.of(request));

      assertThat(guesses.get()).isBetween(11, 45); // of 60 tokens, and those that follow guesses
    }
  }

  /** The same text of the full model, which tells of the heads that its sampler sees. */
  private static Request observed(Request request, Set<HeadId> heads) {
    Sampler sampler = request.sampler();
    return new Request(
        request.prompt(),
        request.maxTokens(),
        request.endTokens(),
        DecodingMethod.full(),
        prediction -> {
          heads.add(prediction.head().id());
          return sampler.next(prediction);
        },
        2,
        0);
  }

  @ParameterizedTest
  @FieldSource("CASES")
  void generate_goldenCases_givesTheOraclesTokensAndExits(String name) {
    GoldenCase golden = GoldenCase.named(name);
    JsonNode cases = golden.expected().get("generation").get("early_exit");
    int layers = golden.architecture().model().numLayers();
    Mesh shared = new Mesh(2, 1, 2);
    Mesh stages = new Mesh(1, 1, layers);
    for (Mesh mesh : SHARED.contains(name) ? List.of(stages, shared) : List.of(stages)) {
      List<List<List<Result>>> results =
          InProcessRanks.run(
              mesh,
              world -> {
                try (Decoder model = golden.load(part(golden.architecture(), world))) {
                  List<List<Result>> all = new ArrayList<>();
                  for (JsonNode expected : cases) {
                    all.add(
                        Generator.generate(
                            model,
                            world,
                            Limits.of(model),
                            GoldenGenerationTest.requests(
                                golden, expected.get("threshold").asDouble()),
                            TokenListener.none()));
                  }
                  return all;
                }
              });

      for (int c = 0; c < cases.size(); c++) {
        List<Result> ours = results.getFirst().get(c);
        for (int i = 0; i < ours.size(); i++) {
          GoldenGenerationTest.assertEqual(golden, ours.get(i), cases.get(c).get("runs").get(i));
        }
      }
    }
  }

  @Test
  void generate_endTokensAndListenersThatStop_endTextsOnAllRanks() {
    try (Decoder whole = SmallModel.plain()) {
      Request request = requests().getFirst();
      List<Integer> ids =
          Generator.generate(whole, Limits.of(whole), List.of(request), TokenListener.none())
              .getFirst()
              .ids();
      Request ending =
          new Request(
              request.prompt(), 20, Set.of(ids.get(6)), request.decoding(), request.sampler());
      List<Request> requests = List.of(ending, request, ending, request);
      List<Result> results =
          generate(
                  whole.architecture(),
                  new Mesh(1, 1, 3),
                  limits -> limits.withBatchSize(2).withCacheTokens(48),
                  requests,
                  (index, token) ->
                      index == 3 && token.id() == ids.get(2) ? Reaction.STOP : Reaction.CONTINUE)
              .getFirst();

      assertThat(results.stream().map(Result::reason))
          .containsExactly(
              FinishReason.END_TOKEN,
              FinishReason.LENGTH,
              FinishReason.END_TOKEN,
              FinishReason.STOPPED);
      assertThat(results.get(1).ids()).isEqualTo(ids);
      assertThat(ids).startsWith(results.get(0).ids().toArray(Integer[]::new));
      assertThat(results.get(2).ids()).isEqualTo(results.get(0).ids());
      assertThat(ids).startsWith(results.get(3).ids().toArray(Integer[]::new));
    }
  }

  @Test
  void generate_otherModesOnTensorParallelRanks_areWhatOneRankSays() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
      List<Request> requests =
          Stream.of(
                  new DecodingMethod.Recompute(sometimes),
                  new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)))
              .map(
                  decoding ->
                      new Request(prompt(3, 1), 20, Set.of(), decoding, Sampler.greedy())
                          .withAlternatives(2))
              .toList();
      assertLikeOneRank(whole, new Mesh(2, 1, 1), limits -> limits, requests);
    }
  }

  @Test
  void generate_aLongPromptAndManyTexts_isWhatOneRankSays() {
    try (Decoder whole = SmallModel.plain()) {
      List<Request> requests =
          IntStream.range(0, 20)
              .mapToObj(i -> request(prompt(1 + 7 * i % 70, i), ExitPolicies.full(), greedy()))
              .toList();
      assertLikeOneRank(whole, new Mesh(1, 1, 2), limits -> limits.withBatchSize(7), requests);
    }
  }

  @Test
  void generate_aPromptOfManySteps_isWhatOneRankSays() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder whole = SmallModel.withContext(exits, 2048)) {
      List<Request> requests =
          List.of(
              request(prompt(1500, 1), ExitPolicies.full(), greedy()),
              request(prompt(700, 2), ExitPolicies.fixed(2), greedy()));
      assertLikeOneRank(whole, new Mesh(1, 1, 3), limits -> limits, requests);
    }
  }
}
