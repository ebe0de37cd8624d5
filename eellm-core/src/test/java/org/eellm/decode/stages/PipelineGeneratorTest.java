package org.eellm.decode.stages;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.config.ExitLayout;
import org.eellm.config.HeadId;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.PipelineLayout;
import org.eellm.config.Quantization;
import org.eellm.decode.Generator;
import org.eellm.decode.GoldenGenerationTest;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.Decoding;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Job;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.Mesh;
import org.eellm.distributed.PeerChannel;
import org.eellm.distributed.World;
import org.eellm.golden.GoldenCase;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.TensorParallel;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.FieldSource;

/** Several ranks, as threads, say what one rank says. */
public final class PipelineGeneratorTest {
  static final List<String> CASES = GoldenCase.NAMES;

  /** Cases that are tried with tensor parallelism as well. */
  private static final Set<String> SHARED = Set.of("llama_mlp_block_gqa", "gpt_mlp_block_own");

  static final List<Mesh> PIPELINES =
      List.of(new Mesh(1, 1, 2), new Mesh(1, 1, 3), new Mesh(1, 1, 5), new Mesh(2, 1, 2));

  static final List<Mesh> MESHES =
      Stream.concat(PIPELINES.stream(), Stream.of(new Mesh(2, 1, 1))).toList();

  private static final int THREADS = Torch.threads();

  @BeforeAll
  static void useOneThread() {
    Torch.setThreads(1); // the models are tiny
  }

  @AfterAll
  static void useAllThreads() {
    Torch.setThreads(THREADS);
  }

  /** This rank's part of a model without parameters. */
  public static Decoder part(Architecture architecture, World world) {
    Mesh mesh = world.mesh();
    return Decoder.allocate(
        architecture,
        Learning.EVERYTHING,
        Quantization.NONE,
        DecoderShard.ofRank(
            PipelineLayout.of(
                architecture, ParallelConfig.of(mesh.tp(), 1, mesh.pp()), 1, Learning.EVERYTHING),
            world.pp(),
            new TensorParallel(world.tp(), false),
            1),
        Torch.cpu());
  }

  /** What each rank returns, of a model with the weights of {@link SmallModel}. */
  private static List<List<Result>> generate(
      Architecture architecture,
      Mesh mesh,
      Function<Limits, Limits> limits,
      List<Request> requests,
      TokenListener listener) {
    return onRanks(
        architecture,
        mesh,
        (model, world) ->
            PipelineGenerator.generate(
                model, world, limits.apply(Limits.of(model)), requests, listener));
  }

  /** What each rank's work returns, done with its part of that model. */
  private static <T> List<T> onRanks(
      Architecture architecture, Mesh mesh, BiFunction<Decoder, World, T> work) {
    return onRanks(architecture, mesh, Duration.ofSeconds(30), work);
  }

  private static <T> List<T> onRanks(
      Architecture architecture, Mesh mesh, Duration timeout, BiFunction<Decoder, World, T> work) {
    return InProcessRanks.run(
        mesh,
        1,
        timeout,
        world -> {
          try (Decoder model = part(architecture, world)) {
            model.initialize(7);
            return work.apply(model, world);
          }
        });
  }

  private static List<Integer> prompt(int length, int seed) {
    return new Random(seed).ints(length, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  private static Request request(List<Integer> prompt, ExitPolicy policy, Sampler sampler) {
    return new Request(prompt, 20, Set.of(), policy, sampler).withAlternatives(2);
  }

  /** Tokens leave at all exits, by policies that look at one head and at several. */
  private static List<Request> requests() {
    ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
    return List.of(
        request(prompt(3, 1), sometimes, Sampler.greedy()),
        request(prompt(9, 2), sometimes, new RandomSampler(1, 20, 0.9, 1.2, 5)),
        request(prompt(1, 3), ExitPolicies.fixed(2), Sampler.greedy()),
        request(prompt(5, 4), ExitPolicies.full(), new RandomSampler(0.7, 0, 1, 1, 6)),
        request(prompt(40, 5), ExitPolicies.entropy(Threshold.of(4)), Sampler.greedy()),
        request(prompt(6, 6), ExitPolicies.patience(2), Sampler.greedy()),
        request(prompt(6, 7), ExitPolicies.margin(Threshold.of(0.05)), Sampler.greedy()),
        request(
            prompt(4, 8),
            ExitPolicies.among(List.of(4), ExitPolicies.maxProbability(Threshold.of(0.2))),
            new RandomSampler(1.2, 50, 1, 1, 7)));
  }

  /** That a mesh's first rank says what one rank says that has the whole model. */
  private static void assertLikeOneRank(
      Decoder whole, Mesh mesh, Function<Limits, Limits> limits, List<Request> requests) {
    List<Result> expected =
        Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());
    List<List<Result>> results =
        generate(whole.architecture(), mesh, limits, requests, TokenListener.none());
    assertSame(results.getFirst(), expected);
  }

  private static void assertSame(List<Result> results, List<Result> expected) {
    assertThat(results).hasSameSizeAs(expected);
    for (int i = 0; i < results.size(); i++) {
      Result result = results.get(i);
      assertThat(result.ids()).as("prompt %d", i + 1).isEqualTo(expected.get(i).ids());
      assertThat(result.reason()).isEqualTo(expected.get(i).reason());
      for (int t = 0; t < result.tokens().size(); t++) {
        GeneratedToken token = result.tokens().get(t);
        GeneratedToken its = expected.get(i).tokens().get(t);
        assertThat(token.head()).as("prompt %d, token %d", i + 1, t).isEqualTo(its.head());
        assertThat(token.layer()).isEqualTo(its.layer());
        assertThat(token.confidence()).isCloseTo(its.confidence(), within(1e-5));
        assertThat(token.logProbability()).isCloseTo(its.logProbability(), within(1e-4));
        assertThat(token.alternatives()).hasSize(2);
        assertThat(token.alternatives().getFirst().id())
            .isEqualTo(its.alternatives().getFirst().id());
      }
    }
  }

  @ParameterizedTest
  @FieldSource("MESHES")
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
                              PipelineGenerator.generate(
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
  @FieldSource("MESHES")
  void generate_headsWithMlpsAndBlocks_isWhatOneRankSays(Mesh mesh) {
    try (Decoder whole = SmallModel.withBlocks()) {
      assertLikeOneRank(whole, mesh, limits -> limits.withMaxPending(3), requests());
    }
  }

  /** A number in [0, 1) that depends on a text and whom it is asked for, and on nothing else. */
  private static double chance(Prediction said, int seed, String what) {
    int hash = Objects.hash(seed, what);
    for (int i = 0; i < said.tokens().size(); i++) {
      hash = 31 * hash + said.tokens().get(i);
    }
    return new Random(hash).nextDouble();
  }

  /** Tokens leave anywhere, and an exit's guess at a later token holds in two of three cases. */
  private static Request guessed(int seed) {
    Random random = new Random(seed);
    double share = random.nextDouble() / 2;
    ExitPolicy policy = said -> chance(said, seed, said.head().id().toString()) < share;
    Sampler sampler =
        said -> {
          int id = (int) (SmallModel.VOCABULARY * chance(said, seed, "text"));
          boolean errs =
              !said.head().id().equals(HeadId.FINAL) && chance(said, seed, "errs") < 1.0 / 3;
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
  @FieldSource("PIPELINES")
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
                        PipelineGenerator.generate(
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
  void generate_aPolicyThatThrowsOnALaterStage_endsAllRanksWithItsReason() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy faulty =
          said -> {
            if (said.head().layer() == 4) {
              throw new GenerateException("layer 4 is not to my taste");
            }
            return false;
          };
      assertThatThrownBy(
              () ->
                  generate(
                      whole.architecture(),
                      new Mesh(1, 1, 2),
                      limits -> limits,
                      List.of(request(prompt(3, 1), faulty, Sampler.greedy())),
                      TokenListener.none()))
          .isInstanceOf(DistributedException.class)
          .hasMessageContaining("rank 1 (tp 0, dp 0, pp 1)")
          .hasMessageContaining("layer 4 is not to my taste");
    }
  }

  @Test
  void generate_aListenerThatThrows_endsAllRanks() {
    try (Decoder whole = SmallModel.plain()) {
      assertThatThrownBy(
              () ->
                  generate(
                      whole.architecture(),
                      new Mesh(1, 1, 3),
                      limits -> limits,
                      requests(),
                      (_, _) -> {
                        throw new GenerateException("nobody listens");
                      }))
          .isInstanceOf(DistributedException.class)
          .hasMessageContaining("nobody listens");
    }
  }

  @Test
  void generate_aPolicyThatAsksForLogitsOfAnEarlierStage_isToldWhatItCanSee() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy curious =
          said -> said.earlier().stream().anyMatch(earlier -> earlier.margin() > 2);
      List<Request> requests = List.of(request(prompt(3, 1), curious, Sampler.greedy()));

      assertThatThrownBy(
              () ->
                  generate(
                      whole.architecture(),
                      new Mesh(1, 1, 2),
                      limits -> limits,
                      requests,
                      TokenListener.none()))
          .hasMessageContaining("a policy sees best and maxProbability, but not the margin");
    }
  }

  @Test
  void generate_modesThatAPipelineDoesNotKnow_areRefused() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
      for (Decoding decoding :
          List.of(
              new Decoding.Recompute(sometimes),
              new Decoding.Speculative(2, new DraftLength.Fixed(3)))) {
        Request request = new Request(prompt(3, 1), 20, Set.of(), decoding, Sampler.greedy());

        assertThatThrownBy(
                () ->
                    generate(
                        whole.architecture(),
                        new Mesh(1, 1, 2),
                        limits -> limits,
                        List.of(request),
                        TokenListener.none()))
            .hasRootCauseInstanceOf(ConfigException.class)
            .hasMessageContaining("use early-exit or full");
      }
    }
  }

  @Test
  void generate_otherModesOnTensorParallelRanks_areWhatOneRankSays() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
      List<Request> requests =
          Stream.of(
                  new Decoding.Recompute(sometimes),
                  new Decoding.Speculative(2, new DraftLength.Fixed(3)))
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

  /** With tokens that all leave on the first stage, whose second rank has nothing to say. */
  @Test
  void generate_laterStagesHearNothingForLong_holdNobodyForDead() {
    try (Decoder whole = SmallModel.plain()) {
      List<Request> requests =
          List.of(request(prompt(3, 1), ExitPolicies.fixed(1), Sampler.greedy()));
      List<List<Result>> results =
          onRanks(
              whole.architecture(),
              new Mesh(2, 1, 2),
              Duration.ofSeconds(3),
              (model, world) ->
                  PipelineGenerator.generate(
                      model,
                      world,
                      Limits.of(model),
                      requests,
                      (_, _) -> {
                        LockSupport.parkNanos(250_000_000);
                        return Reaction.CONTINUE;
                      }));

      assertThat(results.getFirst().getFirst().ids()).hasSize(20);
    }
  }

  /** A request's listener that keeps what the request comes to. */
  private static RequestListener into(List<String> outcomes) {
    return new RequestListener() {
      @Override
      public Reaction onToken(GeneratedToken token) {
        return Reaction.CONTINUE;
      }

      @Override
      public void onEnd(Result result) {
        outcomes.add(result.ids().size() + " tokens");
      }

      @Override
      public void onFailure(RuntimeException cause) {
        outcomes.add(String.valueOf(cause.getMessage()));
      }
    };
  }

  @Test
  void run_aSamplerThatThrowsAtAGuess_isThatSequencesFailure() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy never = _ -> false;
      Sampler faulty =
          said -> {
            if (!said.head().id().equals(HeadId.FINAL)) {
              throw new GenerateException("not of " + said.head().id());
            }
            return said.best();
          };
      List<List<String>> outcomes =
          onRanks(
              whole.architecture(),
              new Mesh(1, 1, 2),
              (model, world) -> {
                List<String> ours = new ArrayList<>();
                List<Job> jobs =
                    Stream.of(faulty, greedy())
                        .map(sampler -> request(prompt(3, 1), never, sampler))
                        .map(request -> Job.of(model, request, "prompt", into(ours)))
                        .toList();
                Limits limits = Limits.of(model);
                try (PeerChannel mail = world.stageChannel()) {
                  if (world.pp().rank() == 0) {
                    try (FirstStageWorker stage =
                        new FirstStageWorker(model, world, mail, limits, jobs)) {
                      stage.run();
                    }
                  } else {
                    try (LaterStageWorker stage =
                        new LaterStageWorker(model, world, mail, limits, jobs)) {
                      stage.run();
                    }
                  }
                  mail.end();
                }
                return ours;
              });

      assertThat(outcomes.getFirst()).containsExactly("not of exit_2", "20 tokens");
    }
  }

  private static Sampler greedy() {
    return Sampler.greedy();
  }
}
