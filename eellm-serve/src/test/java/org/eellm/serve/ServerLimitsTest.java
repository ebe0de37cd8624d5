package org.eellm.serve;

import static org.assertj.core.api.Assertions.assertThat;
import static org.eellm.serve.TestServer.json;

import java.io.IOException;
import java.net.Socket;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Semaphore;
import java.util.function.BooleanSupplier;
import java.util.function.UnaryOperator;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.RequestHandle;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.token.TokenListener.Reaction;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** What a server does when it is asked for too much, for too long, or to stop. */
@ExtendWith(OneThread.class)
final class ServerLimitsTest {
  @TempDir private Path folder;

  private TestServer start(UnaryOperator<Limits> limits, ServerOptions options) {
    return TestServer.start(folder, limits, options);
  }

  /** A text in the engine that takes each step only when allowed; holds all others up. */
  record Brake(Semaphore steps, RequestHandle handle) implements AutoCloseable {
    static Brake on(TestServer server) {
      Semaphore steps = new Semaphore(0);
      Request request =
          new Request(List.of(1, 2), 90, Set.of(), DecodingMethod.full(), Sampler.greedy());
      RequestHandle handle =
          server
              .engine
              .submit(
                  request,
                  token -> {
                    steps.acquireUninterruptibly();
                    return Reaction.CONTINUE;
                  })
              .orElseThrow();
      until(() -> server.engine.status().running() == 1);
      return new Brake(steps, handle);
    }

    @Override
    public void close() {
      handle.cancel();
      steps.release(1000);
    }
  }

  static void until(BooleanSupplier condition) {
    long end = System.nanoTime() + Duration.ofMinutes(2).toNanos();
    while (!condition.getAsBoolean()) {
      if (System.nanoTime() > end) {
        throw new AssertionError("it did not come to this in two minutes");
      }
      Wire.sleep(5);
    }
  }

  private static CompletableFuture<HttpResponse<String>> send(TestServer server, String body) {
    return server.client.sendAsync(
        server
            .request("/v1/completions")
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(body))
            .build(),
        BodyHandlers.ofString());
  }

  static double metric(TestServer server, String name) {
    return server
        .get("/metrics")
        .body()
        .lines()
        .filter(line -> line.startsWith(name + " "))
        .mapToDouble(line -> Double.parseDouble(line.substring(name.length() + 1)))
        .findFirst()
        .orElse(0);
  }

  @Test
  void request_whileTheModelIsLoading_is503() {
    try (TestServer server = TestServer.loading(folder)) {
      assertThat(server.get("/health").statusCode()).isEqualTo(503);
      assertThat(server.get("/health").body()).isEqualTo("{\"status\":\"loading\"}");
      assertThat(server.get("/health/ready").statusCode()).isEqualTo(503);
      assertThat(server.get("/health/ready").body()).isEqualTo("{\"status\":\"loading\"}");
      assertThat(server.get("/health/live").statusCode()).isEqualTo(200);
      assertThat(server.get("/health/live").body()).isEqualTo("{\"status\":\"ok\"}");
      HttpResponse<String> response = server.post("/v1/completions", Wire.LONG);
      assertThat(response.statusCode()).isEqualTo(503);
      assertThat(response.headers().firstValue("Retry-After")).isPresent();
      assertThat(server.get("/v1/models").statusCode()).isEqualTo(503);
      assertThat(server.get("/metrics").statusCode()).isEqualTo(200);
      assertThat(server.get("/").statusCode()).isEqualTo(200);

      server.server.serve(server.served);

      assertThat(server.get("/health").statusCode()).isEqualTo(200);
      assertThat(server.get("/health/ready").statusCode()).isEqualTo(200);
    }
  }

  @Test
  void request_withFullQueue_is429AndTakesNothing() {
    try (TestServer server =
        start(limits -> limits.withBatchSize(1).withMaxQueued(2), TestOptions.at(0))) {
      CompletableFuture<HttpResponse<String>> waiting;
      try (Brake _ = Brake.on(server)) {
        waiting = send(server, Wire.LONG);
        until(() -> server.engine.status().queued() == 1);

        HttpResponse<String> refused =
            server.post("/v1/completions", Wire.LONG.replace("80,", "80, \"n\": 2,"));

        assertThat(refused.statusCode()).isEqualTo(429);
        assertThat(refused.headers().firstValue("Retry-After")).contains("1");
        assertThat(json(refused).path("error").path("type").asText()).isEqualTo("rate_limit_error");
        assertThat(json(refused).path("error").path("code").asText()).isEqualTo("queue_full");
        assertThat(metric(server, "eellm_texts_running")).isEqualTo(1);
      }
      assertThat(waiting.join().statusCode()).isEqualTo(200);
      server.awaitIdle();
      assertThat(server.post("/v1/completions", Wire.LONG).statusCode()).isEqualTo(200);
    }
  }

  @Test
  void request_ofMoreTextsThanMayWait_isRefusedForGood() {
    try (TestServer server = start(limits -> limits.withMaxQueued(2), TestOptions.at(0))) {
      HttpResponse<String> refused =
          server.post("/v1/completions", Wire.LONG.replace("80,", "80, \"n\": 3,"));

      assertThat(refused.statusCode()).isEqualTo(400);
      assertThat(refused.body()).contains("3 texts at once are more than the 2 that may wait");
    }
  }

  @Test
  void client_thatGoesWhileItWaits_leavesTheQueue() throws IOException {
    try (TestServer server = start(limits -> limits.withBatchSize(1), TestOptions.at(0))) {
      try (Brake _ = Brake.on(server)) {
        for (String body : List.of(Wire.LONG, Wire.STREAM)) {
          double before = metric(server, "eellm_disconnects_total");
          int queued = server.engine.status().queued();
          try (Socket socket = Wire.connect(server)) {
            Wire.write(socket, Wire.post(body));
            until(() -> server.engine.status().queued() == queued + 1);
          }
          until(() -> metric(server, "eellm_disconnects_total") == before + 1);
        }
      }
      server.awaitIdle();
      assertThat(metric(server, "eellm_generated_tokens_total{head=\"final\"}")).isZero();
    }
  }

  @Test
  void client_thatGoesAmidItsText_freesItsPlace() throws IOException {
    try (TestServer server = start(limits -> limits.withBatchSize(2), TestOptions.at(0))) {
      int steps = 0;
      try (Brake brake = Brake.on(server)) {
        for (String body : List.of(Wire.LONG, Wire.STREAM)) {
          double before = metric(server, "eellm_disconnects_total");
          double tokens = metric(server, "eellm_generated_tokens_total{head=\"final\"}");
          try (Socket socket = Wire.connect(server)) {
            Wire.write(socket, Wire.post(body));
            until(() -> server.engine.status().queued() == 1);
            while (metric(server, "eellm_generated_tokens_total{head=\"final\"}") < tokens + 3) {
              brake.steps().release();
              steps++;
              Wire.sleep(5);
            }
            if (body.equals(Wire.STREAM)) {
              assertThat(Wire.firstLine(socket)).isEqualTo("HTTP/1.1 200 OK");
            }
          }
          until(() -> metric(server, "eellm_disconnects_total") == before + 1);
          brake.steps().release();
          until(() -> server.engine.status().running() == 1);
        }
      }
      server.awaitIdle();
      assertThat(metric(server, "eellm_generated_tokens_total{head=\"final\"}"))
          .isLessThanOrEqualTo(steps + 4);
    }
  }

  @Test
  void request_beyondItsTime_is504AndFreesItsPlace() {
    try (TestServer server = start(limits -> limits, Wire.timeouts(5000, 300, 1000))) {
      try (Brake _ = Brake.on(server)) {
        HttpResponse<String> response = server.post("/v1/completions", Wire.LONG);

        assertThat(response.statusCode()).isEqualTo(504);
        assertThat(json(response).path("error").path("code").asText()).isEqualTo("timeout");

        HttpResponse<String> stream = server.post("/v1/completions", Wire.STREAM);

        assertThat(stream.statusCode()).isEqualTo(200); // it had begun
        assertThat(stream.body()).contains("\"code\":\"timeout\"").doesNotContain("[DONE]");
      }
      server.awaitIdle();
    }
  }

  @Test
  void engine_thatHasStopped_isTold() {
    try (TestServer server = start(limits -> limits, TestOptions.at(0))) {
      server.engine.close();

      assertThat(server.get("/health").statusCode()).isEqualTo(503);
      assertThat(server.get("/health").body()).isEqualTo("{\"status\":\"failed\"}");
    }
  }

  @Test
  void apiKey_whereThereIsOne_isNeededForAllButHealthAndPage() {
    try (TestServer server = start(limits -> limits, AccessTest.keys("open sesame"))) {
      for (String path :
          List.of(
              "/v1/models",
              "/metrics",
              "/v1/completions",
              "/v1/embeddings",
              "/v1/responses",
              "/tokenize",
              "/detokenize",
              "/api",
              "/nowhere",
              "/page.js/",
              "/healthy")) {
        HttpResponse<String> response = server.get(path);
        assertThat(response.statusCode()).as(path).isEqualTo(401);
        assertThat(json(response).path("error").path("code").asText()).isEqualTo("invalid_api_key");
      }
      assertThat(
              server
                  .send(server.request("/v1/models").header("Authorization", "Bearer no").build())
                  .statusCode())
          .isEqualTo(401);
      assertThat(
              server
                  .send(
                      server
                          .request("/v1/models")
                          .header("Authorization", "Bearer open sesame")
                          .build())
                  .statusCode())
          .isEqualTo(200);
      for (String path : List.of("/health", "/health/live", "/health/ready", "/", "/page.js")) {
        assertThat(server.get(path).statusCode()).as(path).isEqualTo(200);
      }
    }
  }

  @Test
  void stop_withARequestInWork_letsItFinishAndRefusesOthers() {
    try (TestServer server = start(limits -> limits, Wire.timeouts(5000, 20_000, 10_000))) {
      CompletableFuture<HttpResponse<String>> running;
      CompletableFuture<Void> stopped;
      try (Brake _ = Brake.on(server)) {
        running = send(server, Wire.STREAM);
        until(() -> server.engine.status().queued() == 1);

        stopped = CompletableFuture.runAsync(server.server::close);

        until(() -> server.get("/health").body().contains("stopping"));
        assertThat(server.get("/health").statusCode()).isEqualTo(503);
        assertThat(server.get("/health/ready").statusCode()).isEqualTo(503);
        assertThat(server.get("/health/live").statusCode()).isEqualTo(200);
        assertThat(server.post("/v1/embeddings", "{\"input\": \"a\"}").statusCode()).isEqualTo(503);
        assertThat(server.post("/v1/completions", Wire.LONG).statusCode()).isEqualTo(503);
        assertThat(stopped).isNotDone();
      }
      assertThat(running.join().statusCode()).isEqualTo(200);
      assertThat(running.join().body()).endsWith("data: [DONE]\n\n");
      stopped.join();
      server.awaitIdle();
    }
  }

  @Test
  void stop_withARequestThatTakesTooLong_endsIt() {
    try (TestServer server = start(limits -> limits, Wire.timeouts(5000, 20_000, 200));
        Brake _ = Brake.on(server)) {
      CompletableFuture<HttpResponse<String>> whole = send(server, Wire.LONG);
      CompletableFuture<HttpResponse<String>> stream = send(server, Wire.STREAM);
      until(() -> server.engine.status().queued() == 2);

      server.server.close();

      assertThat(whole.join().statusCode()).isEqualTo(503);
      assertThat(stream.join().body()).contains("\"code\":\"stopping\"");
    }
  }
}
