package org.eellm.serve;

import io.helidon.http.DirectHandler;
import io.helidon.http.HeaderNames;
import io.helidon.http.ServerResponseHeaders;
import io.helidon.http.Status;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.Json;

/** Answers, in OpenAI's shape too, what is refused before it is known to be a request of ours. */
final class ProtocolErrors implements DirectHandler {
  private final ServerOptions options;
  private final Sockets sockets;
  private final Metrics metrics;

  ProtocolErrors(ServerOptions options, Sockets sockets, Metrics metrics) {
    this.options = options;
    this.sockets = sockets;
    this.metrics = metrics;
  }

  @Override
  public TransportResponse handle(
      TransportRequest request,
      EventType event,
      Status status,
      ServerResponseHeaders headers,
      String message) {
    metrics.answered("other", status.code());
    ApiException error = error(status.code(), Optional.ofNullable(message).orElse(status.text()));
    if (status.code() == 413) {
      sockets.drain();
    }
    return TransportResponse.builder()
        .status(status)
        .headers(headers)
        .header(HeaderNames.CONTENT_TYPE, "application/json")
        .entity(new String(Json.bytes(Json.error(error)), StandardCharsets.UTF_8))
        .keepAlive(false)
        .build();
  }

  private ApiException error(int status, String message) {
    if (status == 413) {
      return ApiException.tooLarge(options.maxBodyBytes());
    }
    String line = Fields.line(message);
    return status < 500
        ? ApiException.refused(status, "bad_request", line)
        : ApiException.failed(status, "server_error", line);
  }
}
