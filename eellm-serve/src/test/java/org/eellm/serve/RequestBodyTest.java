package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.serve.json.ApiException;
import org.junit.jupiter.api.Test;

/** Which threads read bodies. */
final class RequestBodyTest {
  private static final byte[] SHORT = bytes("{\"prompt\": \"a\"}");
  private static final byte[] LONG =
      bytes("{\"prompt\": \"" + "a".repeat(RequestBody.SHORT_BYTES) + "\"}");

  private final RequestBody body = new RequestBody(TestOptions.DEFAULT);

  private static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  @Test
  void read_longBodies_areReadByFewAndHoldUpNoShortOne() throws Exception {
    int most = RequestBody.READERS + RequestBody.MAX_WAITING;
    CountDownLatch open = new CountDownLatch(1);
    CountDownLatch begun = new CountDownLatch(RequestBody.READERS);
    AtomicInteger reading = new AtomicInteger();
    ConcurrentLinkedQueue<Boolean> virtual = new ConcurrentLinkedQueue<>();
    List<Future<Integer>> answers = new ArrayList<>();
    try (ExecutorService connections = Executors.newVirtualThreadPerTaskExecutor()) {
      CountDownLatch refused = new CountDownLatch(3);
      for (int i = 0; i < most + 3; i++) {
        answers.add(
            connections.submit(
                () -> {
                  try {
                    return body.read(
                        LONG,
                        _ -> {
                          virtual.add(Thread.currentThread().isVirtual());
                          int now = reading.incrementAndGet();
                          begun.countDown();
                          awaitOpen(open);
                          reading.decrementAndGet();
                          return now;
                        });
                  } catch (ApiException e) {
                    refused.countDown();
                    throw e;
                  }
                }));
      }
      begun.await();
      refused.await(); // all others wait

      Thread reader = body.read(SHORT, _ -> Thread.currentThread());
      assertThat(reader).isSameAs(Thread.currentThread());

      open.countDown();
    }
    List<Integer> readTogether = new ArrayList<>();
    List<Throwable> refusals = new ArrayList<>();
    for (Future<Integer> answer : answers) {
      try {
        readTogether.add(answer.get());
      } catch (ExecutionException e) {
        refusals.add(e.getCause());
      }
    }
    assertThat(readTogether).hasSize(most).allMatch(n -> n <= RequestBody.READERS);
    assertThat(virtual).hasSize(most).containsOnly(false);
    assertThat(refusals)
        .hasSize(3)
        .allSatisfy(
            refusal ->
                assertThat(refusal)
                    .isInstanceOf(ApiException.class)
                    .hasMessage("as many long requests wait as may; try again in a second"));
  }

  private static void awaitOpen(CountDownLatch open) {
    try {
      open.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void read_longBodyThatIsRefused_isRefusedAsAShortOne() {
    assertThatThrownBy(
            () ->
                body.read(
                    LONG,
                    _ -> {
                      throw ApiException.badField("prompt", "is refused");
                    }))
        .isInstanceOf(ApiException.class)
        .hasMessage("prompt: is refused");
  }
}
