package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.util.Set;
import java.util.function.Consumer;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Json;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Answers and refusals on their way to clients. */
final class Responses {
  private static final Logger LOG = LoggerFactory.getLogger(Responses.class);

  /** Refusals amid a body. */
  private static final Set<String> UNREAD =
      Set.of("body_too_large", "request_timeout", "bad_request");

  private Responses() {}

  /** Sends the parts of a text as they come. */
  static void stream(ServerResponse response, Consumer<CompletionService.Sink> parts) {
    response.header(HeaderNames.CONTENT_TYPE, "text/event-stream; charset=utf-8");
    response.header(HeaderNames.CACHE_CONTROL, "no-store");
    response.header("X-Accel-Buffering", "no");
    try (OutputStream out = response.outputStream()) {
      EventStream events = new EventStream(out);
      try {
        parts.accept(events);
        events.done();
      } catch (ApiException e) {
        events.send(Json.error(e));
      } catch (UncheckedIOException
          | SocketWriterException
          | CloseConnectionException
          | RequestContext.ClientDisconnected e) {
        throw e;
      } catch (RuntimeException e) {
        LOG.error("a text failed", e);
        events.send(Json.error(failure(e)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Sends a refusal. */
  static void send(ServerResponse response, ApiException e) {
    response.status(e.status());
    e.headers().forEach((name, value) -> response.header(name, value));
    if (UNREAD.contains(e.code().orElse(""))) {
      response.header(HeaderValues.CONNECTION_CLOSE); // the rest of the body is not read
    }
    send(response, Json.error(e));
  }

  /** Sends an answer. */
  static void send(ServerResponse response, ObjectNode body) {
    response.header(HeaderNames.CONTENT_TYPE, "application/json");
    response.send(Json.bytes(body));
  }

  /** A refusal of the web server's own. */
  static ApiException ofHelidon(HttpException e) {
    int status = e.status().code();
    return status < 500
        ? ApiException.refused(status, "bad_request", firstLine(e))
        : ApiException.failed(status, "server_error", firstLine(e));
  }

  /** Says that something went wrong here. */
  static void fail(ServerResponse response, Throwable e) {
    LOG.error("a request failed", e);
    send(response, failure(e));
  }

  private static ApiException failure(Throwable e) {
    return ApiException.failed(
        500, "server_error", "the text failed: " + firstLine(e) + "; the server's log says more");
  }

  /** The first line of a message. */
  static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }
}
