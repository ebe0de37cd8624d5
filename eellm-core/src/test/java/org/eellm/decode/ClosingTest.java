package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.abort;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.eellm.config.Architecture;
import org.eellm.config.MatrixQuantization;
import org.eellm.config.Quantization;
import org.eellm.decode.engine.cpu.KernelRunner;
import org.eellm.decode.head.Vocabulary;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestListener;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.ResultFuture;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.kernel.machine.Threads;
import org.eellm.kernel.vector.NativeBuffer;
import org.eellm.model.Decoder;
import org.eellm.model.DecodingModel;
import org.eellm.model.StoredDecoder;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/**
 * Closes models and their engines in every order. Whoever reads native memory that has been freed
 * ends the JVM, and with it the process of the tests.
 */
@Timeout(600)
final class ClosingTest {
  /** Whose memory it is that must outlive the engine. */
  private enum Kind {
    PACKED {
      @Override
      DecodingModel make() {
        StoredDecoder model = StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE);
        KernelRunner.pack(model);
        return model;
      }
    },
    FILES {
      @Override
      DecodingModel make() {
        return StoredDecoder.of(SmallModel.plain(), MatrixQuantization.NONE);
      }
    },
    LIBTORCH {
      @Override
      DecodingModel make() {
        try (Decoder shape = SmallModel.plain()) {
          Architecture architecture = shape.architecture();
          Decoder model = Decoder.allocate(architecture, Quantization.INT8, Torch.cpu());
          model.initialize(7);
          return model;
        }
      }
    };

    abstract DecodingModel make();
  }

  /** Who closes what, and when. */
  private enum Order {
    MODEL_FIRST {
      @Override
      void close(DecodingModel model, Engine engine) {
        model.close();
        engine.close();
      }
    },
    ENGINE_FIRST {
      @Override
      void close(DecodingModel model, Engine engine) {
        engine.close();
        model.close();
      }
    },
    BY_TWO_THREADS {
      @Override
      void close(DecodingModel model, Engine engine) {
        Thread other = Thread.ofPlatform().start(model::close);
        engine.close();
        join(other);
      }
    };

    abstract void close(DecodingModel model, Engine engine);
  }

  private static void join(Thread thread) {
    try {
      thread.join();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Request request(int seed) {
    List<Integer> prompt = new Random(seed).ints(20, 0, SmallModel.VOCABULARY).boxed().toList();
    return new Request(prompt, 70, Set.of(), DecodingMethod.full(), Sampler.greedy());
  }

  /** Closes on a thread of its own, or in a listener, while texts are being written. */
  private static void closeAmidTexts(DecodingModel model, Order order, boolean inListener) {
    Engine engine = Engine.start(model, Limits.of(model));
    CountDownLatch submitted = new CountDownLatch(1);
    CountDownLatch begun = new CountDownLatch(1);
    List<ResultFuture> results = new ArrayList<>();
    for (int seed = 0; seed < 3; seed++) {
      ResultFuture result =
          new ResultFuture(
              _ -> {
                await(submitted);
                if (inListener && begun.getCount() > 0) {
                  order.close(model, engine);
                }
                begun.countDown();
                return Reaction.CONTINUE;
              });
      engine.submit(request(seed), result);
      results.add(result);
    }
    submitted.countDown();
    await(begun);
    if (!inListener) {
      order.close(model, engine);
    }
    engine.close(); // which waits, where the listener's does not
    results.forEach(ResultFuture::await);
    assertThatThrownBy(() -> Engine.start(model, Limits.of(model)))
        .isInstanceOf(IllegalStateException.class)
        .hasMessage("the model is closed; load it again");
  }

  /** An engine starts while the model is closed: it does, or says why not. */
  private static void closeWhileStarting(DecodingModel model) {
    Thread closing = Thread.ofPlatform().start(model::close);
    try (Engine engine = Engine.start(model, Limits.of(model))) {
      ResultFuture result = new ResultFuture(_ -> Reaction.CONTINUE);
      engine.submit(request(1), result);
      assertThat(result.await().tokens()).hasSize(70);
    } catch (IllegalStateException e) {
      assertThat(e).hasMessage("the model is closed; load it again");
    }
    join(closing);
  }

  private static void closeInAllOrders(int rounds, int threads)
      throws InterruptedException, ExecutionException {
    for (Kind kind : Kind.values()) {
      closeAmidTexts(kind.make(), Order.ENGINE_FIRST, false); // which makes code that stays
    }
    long before = NativeBuffer.totalBytes();
    List<Callable<Integer>> works = new ArrayList<>();
    for (int i = 0; i < rounds; i++) {
      Kind kind = Kind.values()[i % Kind.values().length];
      works.add(
          () -> {
            Threads.set(1);
            for (Order order : Order.values()) {
              closeAmidTexts(kind.make(), order, false);
              closeAmidTexts(kind.make(), order, true);
            }
            closeWhileStarting(kind.make());
            return 0;
          });
    }
    try (ExecutorService executor = Executors.newFixedThreadPool(threads)) {
      for (Future<Integer> work : executor.invokeAll(works)) {
        work.get();
      }
    }
    assertThat(NativeBuffer.totalBytes()).as("bytes that nobody frees").isEqualTo(before);
  }

  @Test
  void start_moreThanTheSystemGives_leavesNothingBehind() {
    try (DecodingModel model = Kind.FILES.make()) {
      Vocabulary vocabulary = Vocabulary.of(SmallModel.VOCABULARY);
      long before = NativeBuffer.totalBytes();
      try (KernelRunner _ = new KernelRunner(model, vocabulary, Integer.MAX_VALUE, 2)) {
        abort("the system gives 22 TB");
      } catch (OutOfMemoryError e) {
        assertThat(e).hasMessageContaining("the system refuses");
      }
      assertThat(NativeBuffer.totalBytes()).isEqualTo(before);
    }
  }

  @Test
  void step_closedBatch_isRefused() {
    try (DecodingModel model = Kind.PACKED.make()) {
      Batch batch = new Batch(model, Limits.of(model));
      batch.close();
      batch.add(batch.job(request(1), "the prompt", _ -> Reaction.CONTINUE));
      assertThatThrownBy(batch::step)
          .isInstanceOf(IllegalStateException.class)
          .hasMessage("the runner is closed");
    }
  }

  @Test
  void close_errorOfAListener_isToldAndFreesAllTheSame() {
    DecodingModel model = Kind.PACKED.make();
    long before = NativeBuffer.totalBytes();
    Engine engine = Engine.start(model, Limits.of(model));
    CountDownLatch begun = new CountDownLatch(1);
    engine.submit(
        request(1),
        new RequestListener() {
          @Override
          public Reaction onToken(GeneratedToken token) {
            begun.countDown();
            return Reaction.CONTINUE;
          }

          @Override
          public void onEnd(Result result) {
            throw new StackOverflowError("a test");
          }
        });
    await(begun);
    engine.close();
    assertThatThrownBy(engine::requireAlive).isInstanceOf(StackOverflowError.class);
    assertThat(NativeBuffer.totalBytes()).isEqualTo(before);
    model.close();
  }

  @Test
  void close_anyOrder_neverFreesWhatIsRead() throws InterruptedException, ExecutionException {
    closeInAllOrders(6, 2);
  }

  @Test
  @Tag("slow")
  void close_anyOrderManyTimes_neverFreesWhatIsRead()
      throws InterruptedException, ExecutionException {
    closeInAllOrders(150, 8);
  }
}
