package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.stream.IntStream;
import org.eellm.config.ExitLayout;
import org.eellm.config.SettingException;
import org.eellm.decode.Engine.Status;
import org.eellm.decode.exit.ExitPolicies;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.Threshold;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.Prediction;
import org.eellm.decode.token.TokenListener;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
final class EngineTest extends WithSmallModel {
  /** A request in flight: what is heard of it. */
  private static final class Heard implements RequestListener {
    private final List<GeneratedToken> tokens = new ArrayList<>(); // on the engine's thread
    private final CompletableFuture<Result> end = new CompletableFuture<>();
    private final CountDownLatch first = new CountDownLatch(1);

    @Override
    public Reaction onToken(GeneratedToken token) {
      tokens.add(token);
      first.countDown();
      return Reaction.CONTINUE;
    }

    @Override
    public void onEnd(Result result) {
      assertThat(result.tokens()).isEqualTo(tokens);
      end.complete(result);
    }

    @Override
    public void onFailure(RuntimeException cause) {
      end.completeExceptionally(cause);
    }

    Result result() {
      return end.join();
    }
  }

  private static Request request(int seed, int promptLength, int maxTokens) {
    List<Integer> prompt =
        new Random(seed).ints(promptLength, 0, SmallModel.VOCABULARY).boxed().toList();
    ExitPolicy policy = ExitPolicies.maxProbability(Threshold.of(0.1 + 0.02 * (seed % 10)));
    return new Request(
        prompt, maxTokens, Set.of(), policy, new RandomSampler(1, 0, 0.9, 1.1, seed));
  }

  /** Goes on until somebody cancels it; slowly enough for that. */
  private static RequestListener endless(Heard heard) {
    return new RequestListener() {
      @Override
      public Reaction onToken(GeneratedToken token) {
        try {
          Thread.sleep(2);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
        return heard.onToken(token);
      }

      @Override
      public void onEnd(Result result) {
        heard.onEnd(result);
      }
    };
  }

  private static void awaitIdle(Engine engine) throws InterruptedException {
    while (engine.status().running() + engine.status().queued() > 0) {
      Thread.sleep(1);
    }
  }

  @Test
  void start_moreRoomThanTheMachineHas_namesTheOption() {
    Limits limits = Limits.of(model).withCacheTokens(Integer.MAX_VALUE);

    assertThatThrownBy(() -> Engine.start(model, limits))
        .isInstanceOf(SettingException.class)
        .hasMessageContaining("2147483647 positions take")
        .hasMessageContaining("GB of keys and values, and weights and Java's heap leave");
  }

  @Test
  void step_errorOfJava_endsTheEngineAndTellsIt() {
    ExitPolicy policy =
        _ -> {
          throw new OutOfMemoryError("a test");
        };
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      ResultFuture result = new ResultFuture(_ -> Reaction.CONTINUE);
      engine.submit(new Request(List.of(1), 5, Set.of(), policy, Sampler.greedy()), result);

      assertThat(result.await().reason()).isEqualTo(FinishReason.CANCELLED);
      assertThat(engine.isOpen()).isFalse();
      assertThatThrownBy(engine::requireAlive).hasMessage("a test");
    }
  }

  @Test
  void submit_shortPromptBehindLongOnes_hasItsTokenFirst() {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, true, false);
    List<Integer> lengths = List.of(2240, 2240, 20);
    List<Integer> order = Collections.synchronizedList(new ArrayList<>());
    try (Decoder longModel = SmallModel.withContext(exits, 2304);
        Engine engine = Engine.start(longModel, Limits.of(longModel))) {
      List<ResultFuture> results = new ArrayList<>();
      for (int i = 0; i < lengths.size(); i++) {
        int index = i;
        ResultFuture result =
            new ResultFuture(
                _ -> {
                  order.add(index);
                  return Reaction.CONTINUE;
                });
        engine.submit(request(i, lengths.get(i), 1), result);
        results.add(result);
      }
      results.forEach(ResultFuture::await);
    }
    assertThat(order).containsExactly(2, 0, 1);
  }

  @Test
  void admit_exceptionBesideRequests_endsTheEngineAndTellsIt() {
    ExitPolicy policy =
        new ExitPolicy() {
          @Override
          public boolean leaves(Prediction prediction) {
            return false;
          }

          @Override
          public Map<Integer, Gate> gates() {
            if (Thread.currentThread().getName().equals("eellm-engine")) {
              throw new IllegalStateException("a test");
            }
            return Map.of();
          }
        };
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      ResultFuture result = new ResultFuture(_ -> Reaction.CONTINUE);
      engine.submit(new Request(List.of(1), 5, Set.of(), policy, Sampler.greedy()), result);

      assertThat(result.await().reason()).isEqualTo(FinishReason.CANCELLED);
      assertThatThrownBy(engine::requireAlive).hasMessage("a test");
    }
  }

  @Test
  void onStep_textsOfABatch_comesWhenAllHaveTheirTokens() {
    List<String> events = new ArrayList<>();
    try (Batch batch = new Batch(model, Limits.of(model))) {
      for (int text = 0; text < 3; text++) {
        int index = text;
        RequestListener listener =
            new RequestListener() {
              @Override
              public Reaction onToken(GeneratedToken token) {
                events.add("token of " + index);
                return Reaction.CONTINUE;
              }

              @Override
              public void onStep() {
                events.add("step of " + index);
              }
            };
        batch.add(batch.job(request(text, 4, 2), "a text", listener));
      }
      batch.step();
    }

    assertThat(events.subList(0, 3))
        .containsExactlyInAnyOrder("token of 0", "token of 1", "token of 2");
    assertThat(events.subList(3, events.size()))
        .containsExactly("step of 0", "step of 1", "step of 2");
  }

  @Test
  void submit_requestsOfManyThreads_areWhatEachGivesAlone() throws InterruptedException {
    List<Request> requests =
        IntStream.range(0, 24).mapToObj(i -> request(i, 1 + 3 * (i % 11), 5 + i)).toList();
    List<Heard> heard = requests.stream().map(request -> new Heard()).toList();
    Limits limits = Limits.of(model).withBatchSize(5).withCacheTokens(320);
    try (Engine engine = Engine.start(model, limits)) {
      List<Thread> users = new ArrayList<>();
      for (int i = 0; i < requests.size(); i++) {
        int index = i;
        users.add(
            Thread.startVirtualThread(
                () ->
                    assertThat(engine.submit(requests.get(index), heard.get(index))).isPresent()));
      }
      for (Thread user : users) {
        user.join();
      }
      for (int i = 0; i < requests.size(); i++) {
        Result alone =
            Generator.generate(
                    model, Limits.of(model), List.of(requests.get(i)), TokenListener.none())
                .getFirst();
        assertThat(heard.get(i).result().ids()).as("request %d", i).isEqualTo(alone.ids());
        assertThat(heard.get(i).result().reason()).isEqualTo(FinishReason.LENGTH);
      }
      awaitIdle(engine);
      assertThat(engine.status()).isEqualTo(new Status(0, 0, 320, 0));
    }
  }

  @Test
  void warmUp_beforeARequest_leavesItAsItIs() throws InterruptedException {
    Request request = request(3, 4, 12);
    Heard heard = new Heard();
    try (Engine engine = Engine.start(model, Limits.of(model).withCacheTokens(64))) {
      engine.warmUp(Duration.ofSeconds(30));
      engine.warmUp(Duration.ZERO);
      engine.submit(request, heard);

      assertThat(heard.result().ids())
          .isEqualTo(
              Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none())
                  .getFirst()
                  .ids());
      awaitIdle(engine);
      assertThat(engine.status()).isEqualTo(new Status(0, 0, 64, 0));
    }
  }

  @Test
  void cancel_requestInWorkOrWaiting_endsItAndFreesItsMemory() throws InterruptedException {
    Heard working = new Heard();
    Heard waiting = new Heard();
    try (Engine engine = Engine.start(model, Limits.of(model).withBatchSize(1))) {
      RequestHandle first = engine.submit(request(1, 4, 80), endless(working)).orElseThrow();
      working.first.await();
      assertThat(engine.status().cacheTokensInUse()).isEqualTo(96);
      RequestHandle second = engine.submit(request(2, 4, 80), endless(waiting)).orElseThrow();

      second.cancel();
      assertThat(waiting.result().reason()).isEqualTo(FinishReason.CANCELLED);
      assertThat(waiting.result().tokens()).isEmpty();
      first.cancel();
      assertThat(working.result().reason()).isEqualTo(FinishReason.CANCELLED);
      assertThat(working.result().tokens()).hasSizeBetween(1, 79);

      awaitIdle(engine);
      assertThat(engine.status().cacheTokensInUse()).isZero();
    }
  }

  @Test
  void submit_moreThanMayWait_isRefusedUntilThereIsRoom() throws InterruptedException {
    Heard working = new Heard();
    Heard waiting = new Heard();
    Limits limits = Limits.of(model).withBatchSize(1).withMaxQueued(1);
    try (Engine engine = Engine.start(model, limits)) {
      RequestHandle first = engine.submit(request(1, 4, 80), endless(working)).orElseThrow();
      working.first.await();

      assertThat(engine.submit(request(2, 4, 3), waiting)).isPresent();
      assertThat(engine.submit(request(3, 4, 3), new Heard())).isEqualTo(Optional.empty());

      first.cancel();
      assertThat(waiting.result().tokens()).hasSize(3);
      awaitIdle(engine);
      assertThat(engine.submit(request(3, 4, 3), new Heard())).isPresent();
    }
  }

  @Test
  void submit_requestThatFails_leavesTheOthersAlone() {
    Heard bad = new Heard();
    Heard good = new Heard();
    Request failing =
        new Request(
            List.of(1, 2),
            20,
            Set.of(),
            ExitPolicies.full(),
            prediction -> {
              if (prediction.position() == 5) {
                throw new GenerateException("no more");
              }
              return prediction.best();
            });
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      engine.submit(failing, bad);
      engine.submit(request(1, 4, 30), good);

      assertThatThrownBy(bad::result).hasRootCauseMessage("no more");
      assertThat(bad.tokens).hasSize(3);
      assertThat(good.result().tokens()).hasSize(30);
    }
  }

  @Test
  void submit_requestThatNeverFits_isRefusedAtOnce() {
    try (Engine engine = Engine.start(model, Limits.of(model).withCacheTokens(64))) {
      assertThatThrownBy(() -> engine.submit(request(1, 40, 40), new Heard()))
          .isInstanceOf(GenerateException.class)
          .hasMessage(
              "the prompt has 40 tokens and up to 40 are to follow, but there is memory for keys"
                  + " and values of 64; let fewer follow, shorten the prompt, or use a larger"
                  + " cache");
    }
  }

  @Test
  void close_withRequestsInWorkAndWaiting_cancelsThem() throws InterruptedException {
    Heard working = new Heard();
    Heard waiting = new Heard();
    Engine engine = Engine.start(model, Limits.of(model).withBatchSize(1));
    engine.submit(request(1, 4, 80), endless(working));
    working.first.await();
    engine.submit(request(2, 4, 80), waiting);

    engine.close();

    assertThat(working.result().reason()).isEqualTo(FinishReason.CANCELLED);
    assertThat(waiting.result().reason()).isEqualTo(FinishReason.CANCELLED);
    assertThatThrownBy(() -> engine.submit(request(3, 4, 3), new Heard()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the engine is closed");
  }

  @Test
  void submit_promptThatBeginsAsAnEarlierOne_usesItsKeysAndValues() {
    List<Integer> system = new Random(5).ints(50, 0, SmallModel.VOCABULARY).boxed().toList();
    Heard first = new Heard();
    Heard second = new Heard();
    Heard third = new Heard();
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      Request one = full(system, 7);
      engine.submit(one, first);
      Result answer = first.result();
      engine.submit(full(system, 8), second);
      List<Integer> dialogue = new ArrayList<>(one.prompt());
      dialogue.addAll(answer.ids());
      engine.submit(full(dialogue, 9), third);

      assertThat(answer.usage().reusedTokens()).isZero();
      assertThat(second.result().usage().reusedTokens()).isEqualTo(48);
      assertThat(second.result().ids()).isEqualTo(alone(full(system, 8)).ids());
      assertThat(third.result().usage().reusedTokens()).isEqualTo(64); // 51 + 20 - 1 are complete
      assertThat(third.result().ids()).isEqualTo(alone(full(dialogue, 9)).ids());
    }
  }

  private static Request full(List<Integer> beginning, int last) {
    List<Integer> prompt = new ArrayList<>(beginning);
    prompt.add(last);
    return new Request(prompt, 20, Set.of(), DecodingMethod.full(), Sampler.greedy());
  }

  private static Result alone(Request request) {
    return Generator.generate(model, Limits.of(model), List.of(request), TokenListener.none())
        .getFirst();
  }

  @Test
  void submit_withAlternatives_tellsTheMostProbableIds() {
    Heard heard = new Heard();
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      engine.submit(request(1, 4, 12).withAlternatives(3), heard);

      for (GeneratedToken token : heard.result().tokens()) {
        assertThat(token.alternatives()).hasSize(3);
        assertThat(Math.exp(token.alternatives().getFirst().logProbability()))
            .isEqualTo(token.confidence());
        assertThat(token.alternatives())
            .isSortedAccordingTo((a, b) -> Double.compare(b.logProbability(), a.logProbability()));
        token.alternatives().stream()
            .filter(alternative -> alternative.id() == token.id())
            .forEach(same -> assertThat(same.logProbability()).isEqualTo(token.logProbability()));
        assertThat(token.logProbability())
            .isLessThanOrEqualTo(token.alternatives().getFirst().logProbability());
      }
    }
  }
}
