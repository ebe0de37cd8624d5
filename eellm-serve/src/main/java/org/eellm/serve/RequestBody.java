package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.http.HeaderNames;
import io.helidon.http.RequestException;
import io.helidon.webserver.http.ServerRequest;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.net.SocketTimeoutException;
import java.util.Locale;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.Json;

/** Reads what clients send, within the bounds of size and time. */
record RequestBody(ServerOptions options, Sockets sockets) {

  /**
   * Reads a body that is a JSON object.
   *
   * @throws ApiException if it is none, or is not there in time
   */
  ObjectNode read(ServerRequest request) {
    String type = request.headers().value(HeaderNames.CONTENT_TYPE).orElse("");
    if (!type.toLowerCase(Locale.ROOT).startsWith("application/json")) {
      throw ApiException.refused(
          415,
          "unsupported_media_type",
          "the body's type is '%s'; send JSON with 'Content-Type: application/json'"
              .formatted(Fields.shown(type)));
    }
    return Json.read(bytes(request));
  }

  private byte[] bytes(ServerRequest request) {
    sockets.expectBytes();
    long start = System.nanoTime();
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    byte[] buffer = new byte[16384];
    if (!request.content().hasEntity()) {
      return new byte[0];
    }
    try {
      // Not to be closed: that would wait for the rest of a body that has been refused.
      InputStream in = request.content().inputStream();
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        body.write(buffer, 0, count);
        if (System.nanoTime() - start > options.readTimeout().toNanos()) {
          throw tooSlow();
        }
      }
      return body.toByteArray();
    } catch (IOException e) {
      throw isTimeout(e) ? tooSlow() : new UncheckedIOException(e);
    } catch (RequestException e) {
      if (e.status().code() == 413) {
        sockets.drain();
        throw ApiException.tooLarge(options.maxBodyBytes());
      }
      throw malformed(e);
    } catch (NumberFormatException e) {
      throw malformed(e);
    } catch (RuntimeException e) {
      throw isTimeout(e) ? tooSlow() : e;
    }
  }

  private static ApiException malformed(RuntimeException e) {
    return ApiException.refused(
        400,
        "bad_request",
        "the body's chunks are malformed: " + Fields.line(Responses.firstLine(e)));
  }

  private static boolean isTimeout(Throwable e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof SocketTimeoutException) {
        return true;
      }
    }
    return false;
  }

  private ApiException tooSlow() {
    return ApiException.refused(
        408,
        "request_timeout",
        "the body was not there within %d seconds".formatted(options.readTimeout().toSeconds()));
  }
}
