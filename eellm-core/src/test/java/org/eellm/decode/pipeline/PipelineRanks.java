package org.eellm.decode.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.function.BiFunction;
import java.util.function.Function;
import java.util.stream.Stream;
import org.eellm.config.Architecture;
import org.eellm.config.Learning;
import org.eellm.config.ParallelConfig;
import org.eellm.config.Quantization;
import org.eellm.config.StageLayout;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener;
import org.eellm.distributed.InProcessRanks;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.ContextParallel;
import org.eellm.model.Decoder;
import org.eellm.model.DecoderShard;
import org.eellm.model.TensorParallel;
import org.eellm.tensor.Torch;

/** Ranks, as threads, that generate with their parts of a small model. */
public final class PipelineRanks {
  private PipelineRanks() {}

  static final List<Mesh> PIPELINES =
      List.of(new Mesh(1, 1, 2), new Mesh(1, 1, 3), new Mesh(1, 1, 5), new Mesh(2, 1, 2));

  static final List<Mesh> MESHES =
      Stream.concat(PIPELINES.stream(), Stream.of(new Mesh(2, 1, 1))).toList();

  /** This rank's part of a model without parameters. */
  public static Decoder part(Architecture architecture, World world) {
    Mesh mesh = world.mesh();
    return Decoder.allocate(
        architecture,
        Learning.EVERYTHING,
        Quantization.NONE,
        DecoderShard.ofRank(
            StageLayout.of(
                architecture, ParallelConfig.of(mesh.tp(), 1, mesh.pp()), 1, Learning.EVERYTHING),
            world.pp(),
            new TensorParallel(world.tp(), false),
            ContextParallel.singleRank(),
            1),
        Torch.cpu());
  }

  /** What each rank returns, of a model with the weights of {@link SmallModel}. */
  static List<List<Result>> generate(
      Architecture architecture,
      Mesh mesh,
      Function<Limits, Limits> limits,
      List<Request> requests,
      TokenListener listener) {
    return onRanks(
        architecture,
        mesh,
        (model, world) ->
            Generator.generate(model, world, limits.apply(Limits.of(model)), requests, listener));
  }

  /** What each rank's work returns, done with its part of that model. */
  public static <T> List<T> onRanks(
      Architecture architecture, Mesh mesh, BiFunction<Decoder, World, T> work) {
    return onRanks(architecture, mesh, Duration.ofSeconds(30), work);
  }

  public static <T> List<T> onRanks(
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

  public static List<Integer> prompt(int length, int seed) {
    return new Random(seed).ints(length, 0, SmallModel.VOCABULARY).boxed().toList();
  }

  static Request request(List<Integer> prompt, ExitPolicy policy, Sampler sampler) {
    return new Request(prompt, 20, Set.of(), policy, sampler).withAlternatives(2);
  }

  /** Tokens leave at all exits, by policies that look at one head and at several. */
  public static List<Request> requests() {
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
  static void assertLikeOneRank(
      Decoder whole, Mesh mesh, Function<Limits, Limits> limits, List<Request> requests) {
    List<Result> expected =
        Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());
    List<List<Result>> results =
        generate(whole.architecture(), mesh, limits, requests, TokenListener.none());
    assertSame(results.getFirst(), expected);
  }

  public static void assertSame(List<Result> results, List<Result> expected) {
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

  static Sampler greedy() {
    return Sampler.greedy();
  }
}
