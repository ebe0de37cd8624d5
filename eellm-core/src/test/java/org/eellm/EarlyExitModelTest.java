package org.eellm;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashSet;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.eellm.config.ConfigException;
import org.eellm.config.DataType;
import org.eellm.config.ExitLayout;
import org.eellm.config.SettingException;
import org.eellm.decode.SmallModel;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.request.GenerateException;
import org.eellm.decode.token.Prediction;
import org.eellm.grammar.GrammarException;
import org.eellm.grammar.GrammarSource;
import org.eellm.model.Decoder;
import org.eellm.model.Head;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
final class EarlyExitModelTest {
  private static final String PROMPT = "the cat";

  @TempDir private static Path folder;
  private static EarlyExitModel model;

  @BeforeAll
  static void load() throws IOException {
    ExitLayout exits = new ExitLayout(List.of(1, 2, 4), true, false, false, false);
    try (Decoder decoder = SmallModel.of(exits, DataType.FLOAT32)) {
      SavedModel.write(folder.resolve("model"), decoder);
    }
    model = small().load();
  }

  @AfterAll
  static void close() {
    model.close();
  }

  private static EarlyExitModel.Loading small() {
    return EarlyExitModel.at(folder.resolve("model")).threads(1); // the model is tiny
  }

  /** Lets no further token come until a gate is open, on the engine's thread. */
  private record Gate(CountDownLatch reached, CountDownLatch open) implements ExitPolicy {
    Gate() {
      this(new CountDownLatch(1), new CountDownLatch(1));
    }

    @Override
    public List<Head> heads(List<Head> all) {
      return List.of(all.getFirst(), all.getLast());
    }

    @Override
    public boolean leaves(Prediction prediction) {
      if (prediction.step() == 5) {
        reached.countDown();
        try {
          open.await();
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
      }
      return false;
    }

    Decoding decoding() {
      return Decoding.policy(this).withMaxTokens(40);
    }
  }

  @Test
  void generate_tokens_makeTheText() {
    List<Token> tokens = new ArrayList<>();
    try (Generation generation =
        model.generate(PROMPT, Decoding.threshold(0.3).withMaxTokens(30))) {
      for (Token token : generation) {
        tokens.add(token);
      }
      Completion whole = generation.completion();
      assertThat(whole.tokens()).isEqualTo(tokens);
      assertThat(whole.reason()).isEqualTo(Completion.Reason.LENGTH);
      assertThat(whole.usage().promptTokens()).isEqualTo(model.tokenizer().encode(PROMPT).length);
      assertThat(whole.text())
          .isEqualTo(tokens.stream().map(Token::text).collect(Collectors.joining()))
          .isEqualTo(model.tokenizer().decode(tokens.stream().mapToInt(Token::id).toArray()));
    }
    assertThat(tokens).hasSize(30).anyMatch(token -> !token.isFinal());
    assertThat(tokens)
        .allSatisfy(
            token -> assertThat(token.layer()).isIn(token.isFinal() ? List.of(5) : model.exits()));
  }

  private enum Color {
    RED,
    GREEN
  }

  private record Light(Color color, Optional<Byte> level, boolean on) {}

  @Test
  void generate_grammarOfARecord_writesWhatJacksonReads() throws IOException {
    ObjectMapper json = new ObjectMapper().registerModule(new Jdk8Module());
    Decoding decoding =
        Decoding.lossless()
            .withMaxTokens(60)
            .withTemperature(1)
            .withGrammar(GrammarSource.Schema.of(Light.class));
    Set<Light> lights = new HashSet<>();
    for (int seed = 0; seed < 20; seed++) {
      Completion answer = model.generate(PROMPT, decoding.withSeed(seed)).completion();
      assertThat(answer.reason()).isEqualTo(Completion.Reason.END_TOKEN);
      lights.add(json.readValue(answer.text(), Light.class));
    }
    assertThat(lights).hasSizeGreaterThan(10);
  }

  @Test
  void generate_lossless_isTheFullModelsText() {
    Decoding lossless = Decoding.lossless().withMaxTokens(50);
    Decoding full = Decoding.full().withMaxTokens(50);
    assertThat(model.complete(PROMPT, lossless)).isEqualTo(model.complete(PROMPT, full));
    assertThat(model.complete(PROMPT, lossless.withTemperature(1).withSeed(3)))
        .isEqualTo(model.complete(PROMPT, full.withTemperature(1).withSeed(3)))
        .isNotEqualTo(model.complete(PROMPT, full.withTemperature(1).withSeed(4)));
  }

  @Test
  void generate_moreThanTheContextHolds_endsThere() {
    List<Integer> prompt = Collections.nCopies(model.contextLength() - 3, 20);
    Completion whole = model.generate(prompt, Decoding.full().withMaxTokens(500)).completion();
    assertThat(whole.tokens()).hasSize(3);
    assertThat(whole.reason()).isEqualTo(Completion.Reason.LENGTH);
  }

  @Test
  void generate_stopText_endsTheTextAndIsNoPartOfIt() {
    Decoding decoding = Decoding.full().withMaxTokens(40);
    String all = model.complete(PROMPT, decoding);
    String stop = all.substring(10, 13);
    Completion stopped = model.generate(PROMPT, decoding.withStop(stop)).completion();
    assertThat(stopped.text()).isEqualTo(all.substring(0, all.indexOf(stop)));
    assertThat(stopped.reason()).isEqualTo(Completion.Reason.STOP_TEXT);
  }

  @Test
  void generate_manyCallersAtOnce_eachHasItsText() {
    List<Decoding> decodings =
        IntStream.range(0, 24)
            .mapToObj(
                seed ->
                    (seed % 2 == 0 ? Decoding.lossless() : Decoding.threshold(0.2))
                        .withMaxTokens(30)
                        .withTemperature(1)
                        .withSeed(seed))
            .toList();
    List<String> alone =
        decodings.stream().map(decoding -> model.complete(PROMPT, decoding)).toList();
    List<CompletableFuture<String>> together =
        decodings.stream()
            .map(decoding -> CompletableFuture.supplyAsync(() -> model.complete(PROMPT, decoding)))
            .toList();
    assertThat(together.stream().map(CompletableFuture::join).toList()).isEqualTo(alone);
  }

  @Test
  void generate_nobodyReads_endsAndHoldsUpNobody() {
    for (int i = 0; i < 20; i++) { // more than the batch has places
      model.generate(PROMPT, Decoding.full().withMaxTokens(60));
    }
    assertThat(model.complete(PROMPT, Decoding.full().withMaxTokens(5))).isNotEmpty();
  }

  @Test
  void generate_readerIsSlow_findsAllTokens() {
    Generation generation = model.generate(PROMPT, Decoding.full().withMaxTokens(20));
    model.complete(PROMPT, Decoding.full().withMaxTokens(60));
    assertThat(generation.stream()).hasSize(20);
  }

  @Test
  void generate_queueIsFull_isRejectedAndSaysSo() throws InterruptedException {
    Gate gate = new Gate();
    try (EarlyExitModel few = small().batchSize(1).maxQueued(1).load()) {
      Generation running = few.generate(PROMPT, gate.decoding());
      gate.reached.await();
      Generation waiting = few.generate(PROMPT, Decoding.full().withMaxTokens(3));
      assertThatThrownBy(() -> few.generate(PROMPT, Decoding.full()))
          .isInstanceOf(RejectedExecutionException.class)
          .hasMessageContaining("1 texts wait already")
          .hasMessageContaining("maxQueued");
      gate.open.countDown();
      assertThat(running.completion().tokens()).hasSizeGreaterThan(5);
      assertThat(waiting.completion().tokens()).hasSize(3);
    }
  }

  @Test
  void iterator_twice_isRefused() {
    Generation generation = model.generate(PROMPT, Decoding.full().withMaxTokens(3));
    assertThat(generation).hasSize(3);
    assertThatThrownBy(generation::iterator).isInstanceOf(IllegalStateException.class);
    assertThat(generation.completion().tokens()).hasSize(3);
  }

  @Test
  void close_ofGeneration_cancelsItQuietly() throws InterruptedException {
    Gate gate = new Gate();
    Generation generation = model.generate(PROMPT, gate.decoding());
    Iterator<Token> tokens = generation.iterator();
    gate.reached.await();
    for (int i = 0; i < 3; i++) {
      tokens.next();
    }
    generation.close();
    gate.open.countDown();
    assertThat(tokens.hasNext()).isFalse();
    Completion rest = generation.completion();
    assertThat(rest.reason()).isEqualTo(Completion.Reason.CANCELLED);
    assertThat(rest.tokens()).hasSizeBetween(5, 6);
    assertThat(model.complete(PROMPT, Decoding.full().withMaxTokens(5))).isNotEmpty();
  }

  @Test
  void close_ofModelAmidATextThatIsRead_failsTheReaderAfterTheTokensThatCame() throws Exception {
    Gate gate = new Gate();
    EarlyExitModel own = small().load();
    Generation generation = own.generate(PROMPT, gate.decoding());
    CompletableFuture<List<Token>> read =
        CompletableFuture.supplyAsync(
            () -> {
              List<Token> tokens = new ArrayList<>();
              assertThatThrownBy(() -> generation.forEach(tokens::add))
                  .isInstanceOf(IllegalStateException.class)
                  .hasMessageContaining("the model was closed");
              return tokens;
            });
    gate.reached.await();
    CompletableFuture<Void> closing = CompletableFuture.runAsync(own::close);
    CompletableFuture<Void> again = CompletableFuture.runAsync(own::close);
    Thread.sleep(50); // so that it waits for the engine
    gate.open.countDown();
    closing.get();
    again.get();
    assertThat(read.get()).hasSizeBetween(5, 6);
    assertThatThrownBy(generation::completion).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void close_ofModel_refusesWhatComesAfter() {
    EarlyExitModel own = small().load();
    own.close();
    own.close();
    assertThatThrownBy(() -> own.generate(PROMPT, Decoding.full()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
    assertThatThrownBy(() -> own.hiddenState(PROMPT, 1, Pooling.MEAN))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("closed");
  }

  @Test
  void interrupt_ofAWaitingReader_cancelsTheText() throws Exception {
    Gate gate = new Gate();
    Generation generation = model.generate(PROMPT, gate.decoding());
    CompletableFuture<Boolean> interrupted = new CompletableFuture<>();
    Thread reader =
        Thread.ofPlatform()
            .start(
                () -> {
                  assertThatThrownBy(generation::text).isInstanceOf(CancellationException.class);
                  interrupted.complete(Thread.currentThread().isInterrupted());
                });
    gate.reached.await();
    reader.interrupt();
    assertThat(interrupted.get()).isTrue();
    gate.open.countDown();
    assertThat(generation.completion().reason()).isEqualTo(Completion.Reason.CANCELLED);
  }

  @Test
  void listen_eachToken_comesOnAThreadThatMayTakeItsTime() throws Exception {
    List<Token> tokens = new ArrayList<>();
    CompletableFuture<Completion> whole =
        model
            .generate(PROMPT, Decoding.full().withMaxTokens(10))
            .listen(
                token -> {
                  // The model is free for others, this listener among them.
                  assertThat(model.complete(PROMPT, Decoding.full().withMaxTokens(1))).isNotNull();
                  tokens.add(token);
                });
    assertThat(whole.get().tokens()).isEqualTo(tokens).hasSize(10);
  }

  @Test
  void listen_listenerThrows_failsAndCancelsTheText() {
    Generation generation = model.generate(PROMPT, Decoding.full().withMaxTokens(80));
    CompletableFuture<Completion> whole =
        generation.listen(
            _ -> {
              throw new IllegalArgumentException("no");
            });
    assertThatThrownBy(whole::get).isInstanceOf(ExecutionException.class).hasRootCauseMessage("no");
  }

  @Test
  void listen_futureIsCancelled_cancelsTheText() throws Exception {
    Gate gate = new Gate();
    Generation generation = model.generate(PROMPT, gate.decoding());
    CompletableFuture<Completion> whole = generation.listen(_ -> {});
    gate.reached.await();
    whole.cancel(true);
    gate.open.countDown();
    assertThat(generation.completion().reason()).isEqualTo(Completion.Reason.CANCELLED);
  }

  @Test
  void close_fromAListener_endsTheModel() {
    EarlyExitModel own = small().load();
    AtomicReference<Thread> closing = new AtomicReference<>();
    AtomicInteger questions = new AtomicInteger();
    // After some tokens, the text goes on only once the listener waits for the model to end.
    ExitPolicy waits =
        _ -> {
          boolean late = questions.incrementAndGet() > 10;
          while (late && !waits(closing.get())) {
            Thread.onSpinWait();
          }
          return false;
        };
    CompletableFuture<Completion> whole =
        own.generate(PROMPT, Decoding.policy(waits).withMaxTokens(80))
            .listen(
                _ -> {
                  closing.set(Thread.currentThread());
                  own.close();
                });
    assertThatThrownBy(whole::join)
        .isInstanceOf(CompletionException.class)
        .hasCauseInstanceOf(IllegalStateException.class);
  }

  @Test
  void close_onTheModelsThread_endsTheModel() {
    EarlyExitModel own = small().load();
    AtomicInteger questions = new AtomicInteger();
    ExitPolicy closes =
        _ -> {
          if (questions.incrementAndGet() == 10) {
            own.close(); // amid a step, which goes on
          }
          return false;
        };
    Generation generation = own.generate(PROMPT, Decoding.policy(closes).withMaxTokens(80));
    assertThatThrownBy(generation::completion).isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> own.complete(PROMPT, Decoding.full()))
        .isInstanceOf(IllegalStateException.class);
  }

  private static boolean waits(Thread thread) {
    return thread != null && thread.getState() == Thread.State.WAITING;
  }

  @Test
  void generate_policyThrows_failsThisTextAlone() {
    Generation failing =
        model.generate(
            PROMPT,
            Decoding.policy(
                _ -> {
                  throw new IllegalArgumentException("no");
                }));
    assertThatThrownBy(failing::text).isInstanceOf(IllegalArgumentException.class).hasMessage("no");
    assertThat(model.complete(PROMPT, Decoding.full().withMaxTokens(5))).isNotEmpty();
  }

  @Test
  void generate_whatCannotBe_isRefusedAtOnce() {
    assertThatThrownBy(() -> model.generate("", Decoding.full()))
        .isInstanceOf(GenerateException.class)
        .hasMessageContaining("the prompt is empty");
    assertThatThrownBy(() -> model.generate("x".repeat(500), Decoding.full()))
        .isInstanceOf(GenerateException.class)
        .hasMessageContaining("context is 96");
    assertThatThrownBy(() -> Decoding.full().withMaxTokens(0)).isInstanceOf(SettingException.class);
    assertThatThrownBy(() -> Decoding.full().withTemperature(-1))
        .isInstanceOf(SettingException.class);
    assertThatThrownBy(() -> Decoding.full().withStop("")).isInstanceOf(SettingException.class);
    for (double none : new double[] {-1, 1.5, Double.NaN}) {
      assertThatThrownBy(() -> Decoding.threshold(none))
          .isInstanceOf(SettingException.class)
          .hasMessageContaining(none + " is no probability; use 0 to 1");
    }
  }

  @Test
  void load_absentModel_isOfThePublicFamily() {
    assertThatThrownBy(() -> EarlyExitModel.load(folder.resolve("absent")))
        .isInstanceOf(EellmException.class)
        .hasMessageContaining("absent");
  }

  @Test
  void generate_withAGrammar_writesTextsOfItAlone() {
    GrammarSource source =
        new GrammarSource.Schema(
            """
            {"type": "object", "required": ["age"], "properties":
              {"age": {"type": "integer", "format": "int32", "minimum": 0}}}\
            """);
    Decoding drawn = Decoding.lossless().withMaxTokens(80).withTemperature(1).withGrammar(source);
    for (int seed = 0; seed < 10; seed++) {
      String text = model.complete("the cat", drawn.withSeed(seed));
      assertThat(text).matches("\\{\"age\":(0|[1-9]\\d*)\\}");
      long age = Long.parseLong(text.substring(7, text.length() - 1));
      assertThat(age).isBetween(0L, (long) Integer.MAX_VALUE);
    }
    Decoding greedy = Decoding.full().withGrammar(new GrammarSource.Choice(List.of("yes", "no")));
    assertThat(model.complete("the cat", greedy)).isIn("yes", "no");
    assertThatThrownBy(
            () ->
                model.generate(
                    "the cat", Decoding.full().withGrammar(new GrammarSource.Expression("("))))
        .isInstanceOf(GrammarException.class);
  }

  @Test
  void inUse_modelWithoutTexts_isNone() {
    assertThat(model.inUse().mostTokens()).isPositive();
    try (EarlyExitModel own = small().load()) {
      assertThat(own.isOpen()).isTrue();
      assertThat(own.inUse().running()).isZero();
      own.close();
      assertThat(own.isOpen()).isFalse();
    }
  }

  @Test
  void calibrated_modelWithACalibrationOfItsOwn_leavesAsItSays() throws IOException {
    Path file = folder.resolve("model/calibration.json");
    assertThatThrownBy(model::calibrated)
        .isInstanceOf(ConfigException.class)
        .hasMessage(
            file + ": is not there; make it with eellm calibrate, or use Decoding.threshold");

    Files.writeString(file, "{\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0}}");
    try (EarlyExitModel own = small().load()) {
      assertThat(own.generate(PROMPT, own.calibrated().withMaxTokens(8)).completion().tokens())
          .hasSize(8)
          .allSatisfy(token -> assertThat(token.layer()).isEqualTo(2));
    } finally {
      Files.delete(file);
    }
  }

  @Test
  void calibrated_file_givesItsThresholds() throws IOException {
    Path file = folder.resolve("calibration.json");
    Files.writeString(file, "{\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0.0}}");
    Completion whole =
        model.generate(PROMPT, Decoding.calibrated(file).withMaxTokens(8)).completion();
    assertThat(whole.tokens()).allMatch(token -> token.layer() == 2 && !token.isFinal());
  }

  @Test
  void hiddenState_pooled_isMeanAndLastOfTheTokens() {
    float[] whole = model.hiddenState(PROMPT, 3, Pooling.MEAN);
    float[] last = model.hiddenState(PROMPT, 3, Pooling.LAST);
    assertThat(whole).hasSize(model.hiddenSize());
    assertThat(last).hasSize(model.hiddenSize()).isNotEqualTo(whole);
    float[] one = model.hiddenState("t", 3, Pooling.MEAN);
    assertThat(one).containsExactly(model.hiddenState("t", 3, Pooling.LAST), within(1e-6f));
    List<float[]> several = model.hiddenStates(List.of(PROMPT, "t"), 3, Pooling.MEAN);
    assertThat(several.getFirst()).containsExactly(whole, within(1e-5f));
    assertThat(several.getLast()).containsExactly(one, within(1e-5f));
  }
}
