package org.eellm.serve;

import io.helidon.http.DirectHandler;
import io.helidon.http.HeaderNames;
import io.helidon.http.ServerResponseHeaders;
import io.helidon.http.Status;
import java.nio.charset.StandardCharsets;
import org.eellm.serve.connection.Connection;
import org.eellm.serve.connection.Connections;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;
import org.jspecify.annotations.Nullable;

/** Answers, in OpenAI's shape too, what is refused before it is known to be a request of ours. */
record ProtocolErrors(ServerOptions options, Connections connections, Metrics metrics)
    implements DirectHandler {

  @Override
  public TransportResponse handle(
      TransportRequest request,
      EventType event,
      Status status,
      ServerResponseHeaders headers,
      @Nullable String message) {
    Connection connection = connections.current();
    // Helidon fails on some heads, as with a NUL in the method, instead of refusing them.
    boolean malformed = status.code() >= 500 && connection.isReadingHead();
    Status answered = malformed ? Status.BAD_REQUEST_400 : status;
    metrics.answered("other", answered.code());
    if (answered.code() == 413 || answered.code() == 414) {
      connection.drain();
    }
    ApiException error = error(answered.code(), malformed ? null : message);
    String id = RequestId.of(request.headers());
    String origin = request.headers().value(HeaderNames.ORIGIN).orElse("");
    Responses.log("a request of " + connection.address().getHostAddress(), id, error);
    options
        .access()
        .origins()
        .headers(origin)
        .forEach((name, value) -> headers.set(HeaderNames.create(name), value));
    headers.set(RequestId.HEADER, id);
    return TransportResponse.builder()
        .status(answered)
        .headers(headers)
        .header(HeaderNames.CONTENT_TYPE, "application/json")
        .entity(new String(HttpJson.bytes(HttpJson.error(error)), StandardCharsets.UTF_8))
        .keepAlive(false)
        .build();
  }

  private ApiException error(int status, @Nullable String message) {
    if (status == 413) {
      return ApiException.tooLarge(options.bounds().maxBodyBytes());
    }
    if (status == 408) {
      return RequestBody.tooSlow(options.bounds().readTimeout());
    }
    String text = message == null ? "" : message;
    // Helidon may say that its log says more, or nothing.
    boolean unclear = text.isEmpty() || text.contains("server log");
    String line = unclear ? "the request's head is malformed" : Fields.line(text);
    return status < 500
        ? ApiException.refused(status, "bad_request", line)
        : ApiException.failed(status, "server_error", line);
  }
}
