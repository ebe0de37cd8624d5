package org.eellm.decode.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.decode.pipeline.PipelineRanks.onRanks;
import static org.eellm.decode.pipeline.PipelineRanks.prompt;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.eellm.decode.Generator;
import org.eellm.decode.SmallModel;
import org.eellm.decode.backend.Backends;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.distributed.message.PeerChannel;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;

/**
 * The first stage begins the next token while the last one has yet to pass the rows of earlier ones
 * (EE-LLM, arXiv 2312.04916, section 4.2): here it passes none before that.
 */
@Timeout(60)
@ExtendWith(OneThread.class)
final class PipelineOverlapTest {
  private static final int TOKENS = 20;

  @Test
  void generate_tokensLeaveOnTheFirstStage_theNextOnesBeginBeforeTheLastStageHasPassedTheirRows() {
    CountDownLatch emitted = new CountDownLatch(TOKENS - 1);
    ExitPolicy leavesAtOnce = _ -> true;

    List<Result> results =
        generate(
            leavesAtOnce,
            emitted,
            (_, _) -> {
              emitted.countDown();
              return Reaction.CONTINUE;
            });

    assertThat(results.getFirst().tokens()).allMatch(token -> token.layer() == 1);
  }

  @Test
  void generate_tokensOfTheFinalHead_theNextOneBeginsBehindAGuess() {
    CountDownLatch asked = new CountDownLatch(2); // of the first stage's last exit
    ExitPolicy never =
        prediction -> {
          if (prediction.head().layer() == 2) {
            asked.countDown();
          }
          return false;
        };

    List<Result> results = generate(never, asked, TokenListener.none());

    assertThat(results.getFirst().tokens()).allMatch(token -> token.layer() == 5);
  }

  /** Generates on two stages, the second of which passes no row before the latch is at zero. */
  private static List<Result> generate(
      ExitPolicy policy, CountDownLatch latch, TokenListener listener) {
    Request request = new Request(prompt(3, 1), TOKENS, Set.of(), policy, Sampler.greedy());
    try (Decoder whole = SmallModel.plain()) {
      List<Request> requests = List.of(request);
      List<Result> results =
          onRanks(
                  whole.architecture(),
                  new Mesh(1, 1, 2),
                  (part, world) -> {
                    if (world.pp().rank() > 0) {
                      serve(part, world, latch);
                      return List.<Result>of();
                    }
                    Limits limits = Limits.of(part).withMaxPending(2);
                    return Generator.generate(part, world, limits, requests, listener);
                  })
              .getFirst();
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), requests, TokenListener.none());
      assertThat(results.getFirst().ids()).isEqualTo(expected.getFirst().ids());
      return results;
    }
  }

  private static void serve(Decoder part, World world, CountDownLatch latch) {
    PipelineSession.requireOneOrder(world);
    try (PeerChannel channel = world.stageChannel()) {
      new StageService(
              channel,
              (vocabulary, pages) -> waiting(Backends.runner(part, vocabulary, pages), latch))
          .run();
      channel.end();
    }
  }

  /** A runner that passes rows when the latch is at zero. */
  private static ModelRunner waiting(ModelRunner runner, CountDownLatch latch) {
    return (ModelRunner)
        Proxy.newProxyInstance(
            ModelRunner.class.getClassLoader(),
            new Class<?>[] {ModelRunner.class},
            (_, method, arguments) -> {
              if (method.getName().equals("run")) {
                assertThat(latch.await(20, TimeUnit.SECONDS)).isTrue();
              }
              try {
                return method.invoke(runner, arguments);
              } catch (InvocationTargetException e) {
                throw e.getCause();
              }
            });
  }
}
