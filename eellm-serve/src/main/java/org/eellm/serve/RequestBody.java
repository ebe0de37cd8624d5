package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.common.buffers.DataReader;
import io.helidon.http.HeaderNames;
import io.helidon.http.RequestException;
import io.helidon.webserver.http.ServerRequest;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.Locale;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.Json;

/** Reads what clients send, within the bounds of size and time. */
record RequestBody(ServerOptions.Bounds bounds) {

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
