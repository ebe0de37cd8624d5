package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.ObjectOutputStream;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.pipeline.PipelineRanks;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.speculate.DraftLength;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.distributed.DistributedException;
import org.eellm.distributed.World;
import org.eellm.distributed.mesh.Mesh;
import org.eellm.kernel.matmul.SumOrder;
import org.eellm.model.Decoder;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ranks that share a model's matrices write what one rank writes that has all of it. */
@Timeout(60)
@ExtendWith(OneThread.class)
final class TensorParallelEngineTest {
  private static final Mesh TWO = new Mesh(2, 1, 1);

  /** Requests of every decoding method. */
  private static List<Request> requests() {
    List<Request> requests = new ArrayList<>(PipelineRanks.requests());
    ExitPolicy sometimes = ExitPolicies.maxProbability(Threshold.of(0.15));
    requests.add(request(20, new DecodingMethod.Recompute(sometimes)));
    requests.add(request(21, new DecodingMethod.Speculative(2, new DraftLength.Adaptive(4, 0.02))));
    requests.add(request(22, DecodingMethod.lossless()));
    requests.add(request(24, new DecodingMethod.Propagate(sometimes)));
    requests.add(Request.score(PipelineRanks.prompt(12, 23), HeadId.FINAL, 0).withAlternatives(2));
    return requests;
  }

  private static Request request(int seed, DecodingMethod method) {
    return new Request(
        PipelineRanks.prompt(7, seed),
        20,
        Set.of(),
        method,
        new RandomSampler(0.8, 0, 1, 1, seed),
        2,
        0);
  }

  private static List<Result> inEngine(Engine engine, List<Request> requests) {
    List<ResultFuture> results = new ArrayList<>();
    for (Request request : requests) {
      ResultFuture result = new ResultFuture(_ -> Reaction.CONTINUE);
      assertThat(engine.submit(request, result)).isPresent();
      results.add(result);
    }
    return results.stream().map(ResultFuture::await).toList();
  }

  /** What an engine over a mesh of ranks does; each rank takes part. */
  private static void withEngine(
      Decoder whole, Mesh mesh, Duration timeout, Consumer<Engine> work) {
    PipelineRanks.onRanks(
        whole.architecture(),
        mesh,
        timeout,
        (model, world) -> {
          TensorParallelEngine.run(
              world,
              model,
              engines -> {
                try (Engine engine =
                    engines.start(model, Limits.of(model).withBatchSize(3).withMaxPending(3))) {
                  work.accept(engine);
                }
              });
          return true;
        });
  }

  static List<Mesh> meshes() {
    return List.of(TWO, new Mesh(1, 1, 2), new Mesh(1, 1, 5), new Mesh(2, 1, 2));
  }

  @ParameterizedTest
  @MethodSource("meshes")
  void submit_onSeveralRanks_isWhatOneRankSays(Mesh mesh) {
    assertSameAsOneRank(SmallModel.plain(), mesh);
  }

  @ParameterizedTest
  @MethodSource("meshes")
  void submit_normsOfAllHeadsOnSeveralRanks_isWhatOneRankSays(Mesh mesh) {
    assertSameAsOneRank(SmallModel.withNormsAfter(), mesh);
  }

  @ParameterizedTest
  @MethodSource("meshes")
  void submit_expertsOnSeveralRanks_isWhatOneRankSays(Mesh mesh) {
    assertSameAsOneRank(SmallModel.withExperts(), mesh);
  }

  private static void assertSameAsOneRank(Decoder model, Mesh mesh) {
    try (Decoder whole = model) {
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), requests(), TokenListener.none());

      withEngine(
          whole,
          mesh,
          Duration.ofSeconds(30),
          engine -> PipelineRanks.assertSame(inEngine(engine, requests()), expected));
    }
  }

  @ParameterizedTest
  @MethodSource("meshes")
  void submit_whileOthersStopFailAndAreCancelled_isWhatOneRankSays(Mesh mesh) {
    Request long1 = request(30, DecodingMethod.full());
    Request long2 = request(31, DecodingMethod.lossless());
    try (Decoder whole = SmallModel.plain()) {
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), List.of(long1, long2), TokenListener.none());

      withEngine(
          whole,
          mesh,
          Duration.ofSeconds(30),
          engine -> {
            AtomicReference<Integer> delivered = new AtomicReference<>(0);
            ResultFuture stops =
                new ResultFuture(
                    _ ->
                        delivered.updateAndGet(count -> count + 1) == 3
                            ? Reaction.STOP
                            : Reaction.CONTINUE);
            ResultFuture fails =
                new ResultFuture(
                    _ -> {
                      throw new IllegalStateException("the listener is broken");
                    });
            CountDownLatch begun = new CountDownLatch(1);
            ResultFuture endless =
                new ResultFuture(
                    _ -> {
                      begun.countDown();
                      return Reaction.CONTINUE;
                    });
            engine.submit(request(32, DecodingMethod.lossless()), stops);
            engine.submit(request(33, DecodingMethod.full()), fails);
            RequestHandle handle =
                engine
                    .submit(
                        new Request(
                            List.of(1), 60, Set.of(), DecodingMethod.full(), Sampler.greedy()),
                        endless)
                    .orElseThrow();
            ResultFuture first = new ResultFuture(_ -> Reaction.CONTINUE);
            engine.submit(long1, first);
            await(begun);
            handle.cancel();
            ResultFuture second = new ResultFuture(_ -> Reaction.CONTINUE);
            engine.submit(long2, second);

            assertThat(stops.await().reason()).isEqualTo(FinishReason.STOPPED);
            assertThat(stops.await().tokens()).hasSize(3);
            assertThat(delivered.get()).isEqualTo(3);
            assertThatThrownBy(fails::await).hasMessage("the listener is broken");
            assertThat(endless.await().reason())
                .isIn(FinishReason.CANCELLED, FinishReason.LENGTH); // as it was in time
            PipelineRanks.assertSame(List.of(first.await(), second.await()), expected);
          });
    }
  }

  @Test
  void readHiddenStates_onPipelineStages_areThoseOfOneRank() {
    List<Integer> text = PipelineRanks.prompt(40, 60);
    try (Decoder whole = SmallModel.plain();
        Engine alone = Engine.start(whole, Limits.of(whole))) {
      List<float[]> expected = hiddenStates(alone, text);

      withEngine(
          whole,
          new Mesh(1, 1, 2),
          Duration.ofSeconds(30),
          engine -> {
            List<float[]> states = hiddenStates(engine, text);
            for (int position = 0; position < text.size(); position++) {
              assertThat(states.get(position))
                  .containsExactly(expected.get(position), within(1e-4F));
            }
          });
    }
  }

  private static List<float[]> hiddenStates(Engine engine, List<Integer> text) {
    List<float[]> states = new ArrayList<>();
    engine.readHiddenStates(text, 4, (_, state) -> states.add(state.clone())).join();
    return states;
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Tag("slow")
  @Test
  void run_severalEnginesAndIdleTimes_followersAndStagesStay() {
    try (Decoder whole = SmallModel.plain()) {
      List<Request> some = List.of(request(40, DecodingMethod.lossless()));
      List<Result> expected =
          Generator.generate(whole, Limits.of(whole), some, TokenListener.none());
      Duration timeout = Duration.ofSeconds(4);
      PipelineRanks.onRanks(
          whole.architecture(),
          new Mesh(2, 1, 2),
          timeout,
          (model, world) -> {
            TensorParallelEngine.run(
                world,
                model,
                engines -> {
                  for (int i = 0; i < 2; i++) {
                    try (Engine engine = engines.start(model, Limits.of(model))) {
                      PipelineRanks.assertSame(inEngine(engine, some), expected);
                      idle(timeout.plusMillis(500));
                      PipelineRanks.assertSame(inEngine(engine, some), expected);
                    }
                  }
                });
            return true;
          });
    }
  }

  private static void idle(Duration time) {
    try {
      Thread.sleep(time);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void step_whenAnotherRankFails_endsTheEngineAndItsTexts() {
    try (Decoder whole = SmallModel.plain()) {
      AtomicReference<Engine> ended = new AtomicReference<>();
      AtomicReference<Result> result = new AtomicReference<>();

      assertThatThrownBy(
              () ->
                  PipelineRanks.onRanks(
                      whole.architecture(),
                      TWO,
                      Duration.ofSeconds(5),
                      (model, world) -> failing(model, world, ended, result)))
          .isInstanceOf(DistributedException.class)
          .hasMessageContaining("rank 1 (tp 1, dp 0, pp 0): out of order");

      assertThat(ended.get().isOpen()).isFalse();
      assertThatThrownBy(() -> ended.get().requireAlive()).isInstanceOf(DistributedException.class);
      assertThat(result.get().reason()).isEqualTo(FinishReason.CANCELLED);
    }
  }

  private static boolean failing(
      Decoder model, World world, AtomicReference<Engine> ended, AtomicReference<Result> result) {
    if (world.tp().rank() == 1) {
      world.tp().gatherTexts(SumOrder.chosen().text()); // with which every session begins
      try (var channel = world.tensorChannel()) {
        channel.receive(List.of(0), Duration.ofSeconds(5));
        throw new IllegalStateException("out of order");
      }
    }
    TensorParallelEngine.run(
        world,
        model,
        engines -> {
          try (Engine engine = engines.start(model, Limits.of(model))) {
            ended.set(engine);
            ResultFuture future = new ResultFuture(_ -> Reaction.CONTINUE);
            engine.submit(request(50, DecodingMethod.full()), future);
            result.set(future.await());
          }
        });
    return true;
  }

  /** A policy with something that cannot travel. */
  @Test
  void submit_policyThatCannotTravel_namesIt() {
    Object secret = new Object();
    ExitPolicy policy = prediction -> secret.hashCode() == prediction.position();

    assertThatThrownBy(() -> StepMessage.encode(request(1, new DecodingMethod.EarlyExit(policy))))
        .isInstanceOf(GenerateException.class)
        .hasMessageContaining("java.lang.Object is not serializable");
  }

  @Test
  void decode_ofOtherClasses_isRefused() throws Exception {
    var bytes = new ByteArrayOutputStream();
    try (var out = new ObjectOutputStream(bytes)) {
      out.writeObject(new File("x"));
    }

    assertThatThrownBy(() -> StepMessage.decode(Request.class, bytes.toByteArray()))
        .hasMessageContaining("REJECTED");
  }
}
