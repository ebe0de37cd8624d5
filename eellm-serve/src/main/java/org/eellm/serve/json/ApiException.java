package org.eellm.serve.json;

import java.util.Map;
import java.util.Optional;

/**
 * A request that is refused, or fails: an HTTP status and an error in OpenAI's shape.
 *
 * <p>The message is one line that says what is wrong with which field, and what to do.
 */
public final class ApiException extends RuntimeException {
  /** Further headers of the reply, which no serialized form needs. */
  private final transient Map<String, String> headers;

  private final int status;
  private final String type;
  private final String param;
  private final String code;

  private ApiException(
      int status,
      String type,
      String param,
      String code,
      String message,
      Map<String, String> headers) {
    super(message);
    this.status = status;
    this.type = type;
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  /** A field that cannot be honoured: 400. The message begins with the field's name. */
  public static ApiException badField(String param, String message) {
    return new ApiException(
        400, "invalid_request_error", param, "", param + ": " + message, Map.of());
  }

  /** A text that does not fit the model's context: 400, with the code that OpenAI has for it. */
  public static ApiException tooLong(String param, String message) {
    return new ApiException(
        400,
        "invalid_request_error",
        param,
        "context_length_exceeded",
        param + ": " + message,
        Map.of());
  }

  /** A model that is not served: 404. */
  public static ApiException unknownModel(String name, String served) {
    return new ApiException(
        404,
        "invalid_request_error",
        "model",
        "model_not_found",
        "model: '%s' is not served here; use '%s'".formatted(name, served),
        Map.of());
  }

  /** A body beyond the bound: 413. */
  public static ApiException tooLarge(int most) {
    return refused(
        413,
        "body_too_large",
        "the body is longer than %d bytes; send less at once".formatted(most));
  }

  /** A request that is refused for another reason than a field. */
  public static ApiException refused(int status, String code, String message) {
    return new ApiException(
        status,
        status == 401 ? "authentication_error" : "invalid_request_error",
        "",
        code,
        message,
        Map.of());
  }

  /** A request that may be sent again later. */
  public static ApiException busy(int status, String code, String message, int retryAfterSeconds) {
    return new ApiException(
        status,
        status == 429 ? "rate_limit_error" : "server_error",
        "",
        code,
        message,
        Map.of("Retry-After", Integer.toString(retryAfterSeconds)));
  }

  /** An error that is not the client's fault. */
  public static ApiException failed(int status, String code, String message) {
    return new ApiException(status, "server_error", "", code, message, Map.of());
  }

  public int status() {
    return status;
  }

  public Map<String, String> headers() {
    return headers;
  }

  String type() {
    return type;
  }

  /** The field that is to blame. */
  public Optional<String> param() {
    return present(param);
  }

  /** A word for programs. */
  public Optional<String> code() {
    return present(code);
  }

  private static Optional<String> present(String text) {
    return text.isEmpty() ? Optional.empty() : Optional.of(text);
  }
}
