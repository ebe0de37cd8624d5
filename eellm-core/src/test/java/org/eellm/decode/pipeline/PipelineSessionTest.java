package org.eellm.decode.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.eellm.decode.pipeline.PipelineRanks.assertLikeOneRank;
import static org.eellm.decode.pipeline.PipelineRanks.generate;
import static org.eellm.decode.pipeline.PipelineRanks.onRanks;
import static org.eellm.decode.pipeline.PipelineRanks.prompt;
import static org.eellm.decode.pipeline.PipelineRanks.request;
import static org.eellm.decode.pipeline.PipelineRanks.requests;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.locks.LockSupport;
import java.util.stream.Stream;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;

/** What the stages of a pipeline fail of, refuse, wait for and measure. */
@ExtendWith(OneThread.class)
final class PipelineSessionTest {
  @Test
  void requireOneOrder_ranksThatAddUpDifferently_isRefusedWithTheirOrders() {
    PipelineSession.requireOneOrder("pipeline stage", List.of("tiles", "tiles"));

    assertThatThrownBy(
            () -> PipelineSession.requireOneOrder("pipeline stage", List.of("tiles", "chain")))
        .isInstanceOf(DistributedException.class)
        .hasMessage(
            "ranks add up bfloat16 in different orders, by pipeline stage: tiles, chain; set"
                + " EELLM_JAVA_OPTS=-Deellm.kernel.order=chain on all machines");
  }

  @Test
  void generate_aPolicyThatThrowsAtAnExitOfALaterStage_endsAllRanksWithItsReason() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy faulty =
          prediction -> {
            if (prediction.head().layer() == 4) {
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
  void generate_aPolicyThatLooksAtWhatExitsOfAnotherStageSaid_isWhatOneRankSays() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy curious =
          prediction ->
              prediction.earlier().stream()
                  .anyMatch(earlier -> earlier.entropy() < 4 || earlier.logits()[3] > 1);

      assertLikeOneRank(
          whole,
          new Mesh(1, 1, 2),
          limits -> limits,
          List.of(request(prompt(3, 1), curious, Sampler.greedy())));
    }
  }

  @Test
  void generate_allModes_areWhatOneRankSays() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
      List<Request> requests =
          Stream.of(
                  new DecodingMethod.Recompute(sometimes),
                  new DecodingMethod.Propagate(sometimes),
                  new DecodingMethod.Speculative(2, new DraftLength.Fixed(3)),
                  DecodingMethod.lossless())
              .map(
                  decoding ->
                      new Request(prompt(3, 1), 20, Set.of(), decoding, Sampler.greedy())
                          .withAlternatives(2))
              .toList();

      for (int batchSize : new int[] {1, 4}) {
        assertLikeOneRank(
            whole, new Mesh(1, 1, 2), limits -> limits.withBatchSize(batchSize), requests);
      }
    }
  }

  @Test
  void generate_gates_areRefusedWhereRanksShareTheModel() {
    try (Decoder whole = SmallModel.plain()) {
      ExitPolicy gated =
          ExitPolicies.gated(Map.of(2, new Gate(0, 1, 0, new float[32])), Threshold.of(0.5));
      Vocabulary listed = new Vocabulary(SmallModel.VOCABULARY, List.of(1, 2));
      for (Mesh mesh : List.of(new Mesh(1, 1, 2), new Mesh(2, 1, 1))) {
        assertThatThrownBy(
                () ->
                    generate(
                        whole.architecture(),
                        mesh,
                        limits -> limits.withVocabulary(listed),
                        List.of(request(prompt(3, 1), gated, Sampler.greedy())),
                        TokenListener.none()))
            .hasRootCauseInstanceOf(ConfigException.class)
            .hasMessageContaining(
                "calibration: its gates need the whole model on one rank; leave out --tp and --pp");
      }
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
                  Generator.generate(
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

  @Test
  void generate_aSamplerThatThrowsAtAGuess_isThatSequencesFailure() {
    try (Decoder whole = SmallModel.plain()) {
      Sampler faulty =
          prediction -> {
            if (!prediction.head().id().equals(HeadId.FINAL)) {
              throw new GenerateException("not of " + prediction.head().id());
            }
            return prediction.best();
          };

      assertThatThrownBy(
              () ->
                  generate(
                      whole.architecture(),
                      new Mesh(1, 1, 2),
                      limits -> limits.withBatchSize(1),
                      List.of(request(prompt(3, 1), _ -> false, faulty)),
                      TokenListener.none()))
          .hasMessageContaining("not of exit_"); // which one guesses depends on measured times
    }
  }
}
