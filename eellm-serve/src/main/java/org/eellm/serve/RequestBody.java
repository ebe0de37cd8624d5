package org.eellm.serve;

import io.helidon.common.buffers.DataReader;
import io.helidon.http.HeaderNames;
import io.helidon.http.RequestException;
import io.helidon.webserver.http.ServerRequest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.ArrayBlockingQueue;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;

/** Reads what clients send, within the bounds of size and time. */
final class RequestBody {
  /** Up to so many bytes a body is read in a moment. */
  static final int SHORT_BYTES = 32 << 10;

  /** Long bodies at once: half of the processors at most. */
  static final int READERS = Math.max(1, Runtime.getRuntime().availableProcessors() / 2);

  /** Long bodies that may wait for that. */
  static final int MAX_WAITING = 64;

  private final ServerOptions.Bounds bounds;

  /**
   * The threads for long bodies. Connections have virtual threads, of which as many run as there
   * are processors, each until it waits for something: parsing, templates and tokenizers never do,
   * so that a few long bodies would hold up everybody.
   */
  private final ThreadPoolExecutor readers =
      new ThreadPoolExecutor(
          READERS,
          READERS,
          10,
          TimeUnit.SECONDS,
          new ArrayBlockingQueue<>(MAX_WAITING),
          Thread.ofPlatform().daemon().name("long-body-", 0).factory());

  RequestBody(ServerOptions.Bounds bounds) {
    this.bounds = bounds;
    readers.allowCoreThreadTimeOut(true);
  }

  /**
   * Reads a body that is a JSON object.
   *
   * @param reader makes a request of its fields
   * @throws ApiException if it is none, or is not there in time
   */
  <T> T read(ServerRequest request, Function<Fields, T> reader) {
    String type = request.headers().value(HeaderNames.CONTENT_TYPE).orElse("");
    if (!type.toLowerCase(Locale.ROOT).startsWith("application/json")) {
      throw ApiException.refused(
          415,
          "unsupported_media_type",
          "the body's type is '%s'; send JSON with 'Content-Type: application/json'"
              .formatted(Fields.shown(type)));
    }
    return read(bytes(request), reader);
  }

  /** Reads a body that is there. */
  <T> T read(byte[] body, Function<Fields, T> reader) {
    if (body.length <= SHORT_BYTES) {
      return reader.apply(new Fields(HttpJson.read(body), ""));
    }
    try {
      return readers.submit(() -> reader.apply(new Fields(HttpJson.read(body), ""))).get();
    } catch (RejectedExecutionException e) {
      throw ApiException.busy(
          429, "queue_full", "as many long requests wait as may; try again in a second", 1);
    } catch (ExecutionException e) {
      throw e.getCause() instanceof RuntimeException cause
          ? cause
          : new IllegalStateException("a body cannot be read", e);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
    }
  }

  private byte[] bytes(ServerRequest request) {
    if (!request.content().hasEntity()) {
      return new byte[0];
    }
    try {
      // Not to be closed: that would wait for the rest of a body that has been refused.
      return request.content().inputStream().readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    } catch (RequestException e) {
      switch (e.status().code()) {
        case 408 -> throw tooSlow(bounds.readTimeout());
        case 413 -> throw ApiException.tooLarge(bounds.maxBodyBytes());
        default -> throw malformed(e);
      }
    } catch (NumberFormatException | DataReader.IncorrectNewLineException e) {
      throw malformed(e);
    }
  }

  private static ApiException malformed(RuntimeException e) {
    return ApiException.refused(
        400,
        "bad_request",
        "the body's chunks are malformed: " + Fields.line(Responses.firstLine(e)));
  }

  /** A request that is not there in time: 408. */
  static ApiException tooSlow(Duration most) {
    return ApiException.refused(
        408,
        "request_timeout",
        "the request was not there within %d seconds".formatted(most.toSeconds()));
  }
}
