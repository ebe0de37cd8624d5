package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.common.buffers.BufferData;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.http.Method;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.Arrays;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.serve.access.ApiKey;
import org.eellm.serve.connection.Connection;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;
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
  static void stream(
      ServerRequest request,
      ServerResponse response,
      Connection connection,
      Consumer<CompletionService.Sink> parts) {
    response.header(HeaderNames.CONTENT_TYPE, "text/event-stream; charset=utf-8");
    response.header(HeaderNames.CACHE_CONTROL, "no-store");
    response.header("X-Accel-Buffering", "no");
    try (OutputStream out =
        connection.isHttp10() ? unchunked(response, connection) : response.outputStream()) {
      EventStream events = new EventStream(out);
      try {
        parts.accept(events);
        events.done();
      } catch (ApiException e) {
        log(request, response, e);
        events.send(HttpJson.error(e));
      } catch (UncheckedIOException
          | SocketWriterException
          | CloseConnectionException
          | RequestContext.ClientDisconnected e) {
        throw e;
      } catch (RuntimeException e) {
        LOG.error("a text of request {} failed", RequestId.of(response), e);
        events.send(HttpJson.error(failure(e)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    if (connection.isHttp10()) {
      throw new CloseConnectionException("the end of the connection is the end of the stream");
    }
  }

  /** Sends a head, and then bytes as they are: HTTP/1.0 has no chunks. */
  private static OutputStream unchunked(ServerResponse response, Connection connection) {
    BufferData head = BufferData.growing(512);
    head.writeAscii("HTTP/1.1 200 OK\r\n");
    response.header(HeaderValues.CONNECTION_CLOSE);
    response.headers().forEach(header -> header.writeHttp1Header(head));
    head.writeAscii("\r\n");
    connection.send(head.readBytes());
    return new OutputStream() {
      @Override
      public void write(int value) {
        connection.send(new byte[] {(byte) value});
      }

      @Override
      public void write(byte[] bytes, int offset, int length) {
        connection.send(Arrays.copyOfRange(bytes, offset, offset + length));
      }
    };
  }

  /** Sends a refusal, and logs it. */
  static void refuse(ServerRequest request, ServerResponse response, ApiException e) {
    log(request, response, e);
    send(request, response, e);
  }

  private static void log(ServerRequest request, ServerResponse response, ApiException e) {
    String path = Fields.shown(request.prologue().uriPath().rawPath()); // others may have none
    String address =
        ((InetSocketAddress) request.remotePeer().address()).getAddress().getHostAddress();
    String key =
        request.context().get(ApiKey.class).map(each -> " with key " + each.name()).orElse("");
    log(
        "%s %s of %s%s".formatted(request.prologue().method().text(), path, address, key),
        RequestId.of(response),
        e);
  }

  /** Says what was refused, and nothing of what the request says. */
  static void log(String request, String id, ApiException e) {
    LOG.info(
        "{} {}: {} {}, request {}",
        e.status() < 500 ? "refused" : "failed",
        request,
        e.status(),
        Stream.concat(e.code().stream(), e.param().stream()).collect(Collectors.joining(" ")),
        id);
  }

  private static void send(ServerRequest request, ServerResponse response, ApiException e) {
    response.status(e.status());
    e.headers().forEach((name, value) -> response.header(name, value));
    if (UNREAD.contains(e.code().orElse(""))) {
      response.header(HeaderValues.CONNECTION_CLOSE); // the rest of the body is not read
    }
    send(request, response, HttpJson.error(e));
  }

  /** Sends an answer. */
  static void send(ServerRequest request, ServerResponse response, ObjectNode body) {
    response.header(HeaderNames.CONTENT_TYPE, "application/json");
    send(request, response, HttpJson.bytes(body));
  }

  /** Sends a body, of which HEAD has the length alone. */
  static void send(ServerRequest request, ServerResponse response, byte[] body) {
    if (request.prologue().method().equals(Method.HEAD)) {
      response.header(HeaderNames.CONTENT_LENGTH, Integer.toString(body.length));
      response.send();
    } else {
      response.send(body);
    }
  }

  /** A refusal of the web server's own. */
  static ApiException ofHelidon(HttpException e) {
    int status = e.status().code();
    return status < 500
        ? ApiException.refused(status, "bad_request", firstLine(e))
        : ApiException.failed(status, "server_error", firstLine(e));
  }

  /** Says that something went wrong here. */
  static void fail(ServerRequest request, ServerResponse response, Throwable e) {
    LOG.error("request {} failed", RequestId.of(response), e);
    refuse(request, response, failure(e));
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
