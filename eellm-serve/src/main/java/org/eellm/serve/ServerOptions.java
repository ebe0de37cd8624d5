package org.eellm.serve;

import java.time.Duration;
import java.util.Optional;
import org.eellm.config.SettingException;

/**
 * Where a server listens, and its bounds.
 *
 * @param host name or address to listen at
 * @param port 0 for any that is free
 * @param apiKey what clients have to know, if anything
 * @param maxBodyBytes longest body of a request
 * @param readTimeout how long a client may take to send the next bytes of a request
 * @param requestTimeout how long a request may take from its body's end to its last token
 * @param drainTimeout how long requests in work may go on when the server is to stop
 * @param maxConnections connections at once; further clients wait to be connected
 */
public record ServerOptions(
    String host,
    int port,
    Optional<String> apiKey,
    int maxBodyBytes,
    Duration readTimeout,
    Duration requestTimeout,
    Duration drainTimeout,
    int maxConnections) {
  /** Longest body by default: more than a prompt of 100,000 words. */
  public static final int MAX_BODY_BYTES = 2 << 20;

  /** Connections at once by default. */
  public static final int MAX_CONNECTIONS = 1024;

  public ServerOptions {
    if (port < 0 || port > 65535) {
      throw new SettingException("port", port + " is outside 0..65535; use 0 for any that is free");
    }
    if (apiKey.isPresent() && apiKey.get().isBlank()) {
      throw new SettingException("api-key", "is blank; give a key, or none at all");
    }
    requirePositive("max-body-bytes", maxBodyBytes);
    requirePositive("read-timeout", readTimeout.toMillis());
    requirePositive("request-timeout", requestTimeout.toMillis());
    requirePositive("max-connections", maxConnections);
    if (drainTimeout.isNegative()) {
      throw new SettingException(
          "drain-timeout", drainTimeout.toSeconds() + " is negative; use 0 or more seconds");
    }
  }

  private static void requirePositive(String name, long value) {
    if (value < 1) {
      throw new SettingException(name, value + " is below 1; use 1 or more");
    }
  }

  /** The defaults at a port of this machine's own. */
  public static ServerOptions of(int port) {
    return new ServerOptions(
        "127.0.0.1",
        port,
        Optional.empty(),
        MAX_BODY_BYTES,
        Duration.ofSeconds(30),
        Duration.ofMinutes(10),
        Duration.ofSeconds(30),
        MAX_CONNECTIONS);
  }

  /** The same with a key. */
  public ServerOptions withApiKey(String key) {
    return new ServerOptions(
        host,
        port,
        Optional.of(key),
        maxBodyBytes,
        readTimeout,
        requestTimeout,
        drainTimeout,
        maxConnections);
  }

  /** The same with other time-outs. */
  public ServerOptions withTimeouts(Duration read, Duration request, Duration drain) {
    return new ServerOptions(
        host, port, apiKey, maxBodyBytes, read, request, drain, maxConnections);
  }
}
