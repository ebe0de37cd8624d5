package org.eellm.serve;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.eellm.config.SettingException;
import org.eellm.serve.access.AllowedOrigins;
import org.eellm.serve.access.ApiKeys;
import org.eellm.serve.access.HostNames;

/**
 * Where a server listens, to whom it answers, and its bounds.
 *
 * @param host name or address to listen at
 * @param port 0 for any that is free
 */
public record ServerOptions(String host, int port, Access access, Bounds bounds) {

  /**
   * To whom a server answers.
   *
   * @param keys what clients have to know, if anything
   * @param hosts names under which browsers may ask
   * @param origins pages of other sites that may
   * @param tls none for plain HTTP
   */
  public record Access(
      ApiKeys keys, HostNames hosts, AllowedOrigins origins, Optional<TlsFiles> tls) {}

  /**
   * PEM files.
   *
   * @param certificates the server's, and those that vouch for it
   * @param key of the first certificate, without a password
   */
  public record TlsFiles(Path certificates, Path key) {}

  /**
   * How much a server takes.
   *
   * @param maxBodyBytes longest body of a request
   * @param readTimeout how long a client may take to send a request's head, and again its body
   * @param requestTimeout how long a request may take from its body's end to its last token
   * @param drainTimeout how long requests in work may go on when the server is to stop
   * @param maxConnections connections at once
   * @param maxClientConnections of these, of one address
   */
  public record Bounds(
      int maxBodyBytes,
      Duration readTimeout,
      Duration requestTimeout,
      Duration drainTimeout,
      int maxConnections,
      int maxClientConnections) {
    /** Longest body by default: more than a prompt of 100,000 words. */
    public static final int MAX_BODY_BYTES = 2 << 20;

    /** Connections at once by default. */
    public static final int MAX_CONNECTIONS = 1024;

    /** Connections of one address by default. */
    public static final int MAX_CLIENT_CONNECTIONS = 512;

    public Bounds {
      requirePositive("max-body-bytes", maxBodyBytes);
      requirePositive("read-timeout", readTimeout.toMillis());
      requirePositive("request-timeout", requestTimeout.toMillis());
      requirePositive("max-connections", maxConnections);
      requirePositive("max-client-connections", maxClientConnections);
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
  }

  public ServerOptions {
    if (port < 0 || port > 65535) {
      throw new SettingException("port", port + " is outside 0..65535; use 0 for any that is free");
    }
  }
}
