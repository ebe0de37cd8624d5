package org.eellm.serve;

import io.helidon.http.HeaderName;
import io.helidon.http.HeaderNames;
import io.helidon.http.Headers;
import io.helidon.webserver.http.ServerResponse;
import java.util.UUID;
import java.util.regex.Pattern;

/** What the log and the answer call a request: as its client does, or a new name. */
final class RequestId {
  static final HeaderName HEADER = HeaderNames.create("X-Request-Id");

  private static final Pattern PLAIN = Pattern.compile("[\\w.:/+=@-]{1,128}");

  private RequestId() {}

  /** The name that a request's headers give, if no line or terminal can mind it. */
  static String of(Headers request) {
    return request
        .value(HEADER)
        .filter(given -> PLAIN.matcher(given).matches())
        .orElseGet(() -> UUID.randomUUID().toString());
  }

  /** The name that an answer has. */
  static String of(ServerResponse response) {
    return response.headers().value(HEADER).orElse("");
  }
}
