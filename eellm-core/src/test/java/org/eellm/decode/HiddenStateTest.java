package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.stream.IntStream;
import org.eellm.config.SettingException;
import org.eellm.decode.engine.ForwardBatch;
import org.eellm.decode.engine.ModelRunner;
import org.eellm.decode.engine.torch.TorchRunner;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.model.Decoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
final class HiddenStateTest {
  private static final int THREADS = Torch.threads();
  private static Decoder model;

  @BeforeAll
  static void makeModel() {
    Torch.setThreads(1); // the models are tiny
    model = SmallModel.plain();
  }

  @AfterAll
  static void closeModel() {
    model.close();
    Torch.setThreads(THREADS);
  }

  private static List<Integer> text(int length) {
    return IntStream.range(0, length).mapToObj(i -> (7 * i + 3) % SmallModel.VOCABULARY).toList();
  }

  /** Position by position through libtorch. */
  private static List<float[]> alone(List<Integer> ids, int layer) {
    List<float[]> states = new ArrayList<>();
    try (ModelRunner runner = new TorchRunner(model, Limits.of(model).vocabulary(), 6)) {
      int[] pages = {5, 4, 3, 2, 1, 0};
      byte[] bytes = new byte[runner.hiddenBytes()];
      for (int position = 0; position < ids.size(); position++) {
        ForwardBatch row = new ForwardBatch();
        row.begin(pages);
        row.add(runner.allocateSlot(), position);
        runner.embed(row, new int[] {ids.get(position)});
        runner.run(0, 2 * layer, row);
        runner.read(row.slot(0), bytes, 0);
        float[] state = new float[bytes.length / Float.BYTES];
        ByteBuffer.wrap(bytes).order(ByteOrder.nativeOrder()).asFloatBuffer().get(state);
        states.add(state);
      }
    }
    return states;
  }

  private static List<float[]> read(Engine engine, List<Integer> ids, int layer) {
    List<float[]> states = new ArrayList<>();
    int count =
        engine
            .readHiddenStates(
                ids,
                layer,
                (position, state) -> {
                  assertThat(position).isEqualTo(states.size());
                  states.add(state.clone());
                })
            .join();
    assertThat(states).hasSize(count);
    return states;
  }

  private static void assertSame(List<float[]> states, List<float[]> others) {
    assertThat(states).hasSameSizeAs(others);
    for (int i = 0; i < states.size(); i++) {
      assertThat(states.get(i)).containsExactly(others.get(i), within(1e-4f));
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 5})
  void readHiddenStates_ofLayer_areThoseOfPositionsOneByOne(int layer) {
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      assertSame(read(engine, text(40), layer), alone(text(40), layer));
    }
  }

  @Test
  void readHiddenStates_manyTextsAndLayersWhileTextsAreGenerated_changeNothing() {
    List<float[]> first = alone(text(90), 2);
    List<float[]> second = alone(text(17), 4);
    Request request =
        new Request(text(10), 60, Set.of(), DecodingMethod.lossless(), Sampler.greedy());
    try (Engine engine = Engine.start(model, Limits.of(model).withCacheTokens(200))) {
      ResultFuture undisturbed = new ResultFuture(_ -> Reaction.CONTINUE);
      engine.submit(request, undisturbed);
      List<Integer> ids = undisturbed.await().ids();

      List<List<float[]>> states = new ArrayList<>();
      List<CompletableFuture<Integer>> ends = new ArrayList<>();
      ResultFuture beside = new ResultFuture(_ -> Reaction.CONTINUE);
      engine.submit(request, beside);
      for (int i = 0; i < 8; i++) {
        List<float[]> own = new ArrayList<>();
        states.add(own);
        ends.add(
            engine.readHiddenStates(
                i % 2 == 0 ? text(90) : text(17),
                i % 2 == 0 ? 2 : 4,
                (_, state) -> own.add(state.clone())));
      }
      ends.forEach(CompletableFuture::join);

      assertThat(beside.await().ids()).isEqualTo(ids);
      for (int i = 0; i < states.size(); i++) {
        assertSame(states.get(i), i % 2 == 0 ? first : second);
      }
    }
  }

  @Test
  void readHiddenStates_listenerThrows_failsThisTextAlone() {
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      CompletableFuture<Integer> failing =
          engine.readHiddenStates(
              text(5),
              1,
              (_, _) -> {
                throw new IllegalArgumentException("no");
              });
      assertThat(read(engine, text(5), 1)).hasSize(5);
      assertThatThrownBy(failing::join).hasRootCauseMessage("no");
    }
  }

  @Test
  void close_amidHiddenStates_failsThem() {
    List<CompletableFuture<Integer>> ends = new ArrayList<>();
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      for (int i = 0; i < 50; i++) {
        ends.add(engine.readHiddenStates(text(90), 5, (_, _) -> {}));
      }
    }
    assertThatThrownBy(ends.getLast()::join)
        .isInstanceOf(CompletionException.class)
        .hasMessageContaining("the engine is closed");
  }

  @Test
  void readHiddenStates_whatDoesNotFit_isRefused() {
    try (Engine engine = Engine.start(model, Limits.of(model).withCacheTokens(32))) {
      assertThatThrownBy(() -> engine.readHiddenStates(text(5), 6, (_, _) -> {}))
          .isInstanceOf(SettingException.class)
          .hasMessageContaining("layer")
          .hasMessageContaining("use 1 to 5");
      assertThatThrownBy(() -> engine.readHiddenStates(List.of(), 1, (_, _) -> {}))
          .isInstanceOf(GenerateException.class)
          .hasMessageContaining("empty");
      assertThatThrownBy(() -> engine.readHiddenStates(text(33), 1, (_, _) -> {}))
          .isInstanceOf(GenerateException.class)
          .hasMessageContaining("memory for keys and values of 32");
      assertThatThrownBy(
              () -> engine.readHiddenStates(text(SmallModel.CONTEXT + 1), 1, (_, _) -> {}))
          .isInstanceOf(GenerateException.class)
          .hasMessageContaining("context is 96");
      assertThatThrownBy(() -> engine.readHiddenStates(Arrays.asList(9999), 1, (_, _) -> {}))
          .isInstanceOf(GenerateException.class)
          .hasMessageContaining("9999");
    }
  }
}
