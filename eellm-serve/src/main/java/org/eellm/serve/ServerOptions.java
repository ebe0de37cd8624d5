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
      ApiKeys keys, HostNames hosts, AllowedOrigins origins, Optional<TlsFiles> tls) {
    /** No key, no name but this machine's own and addresses, and no page but the server's. */
    public static final Access OPEN =
        new Access(ApiKeys.NONE, HostNames.LOCAL, AllowedOrigins.NONE, Optional.empty());
  }

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

    public static final Bounds DEFAULT =
        new Bounds(
            MAX_BODY_BYTES,
            Duration.ofSeconds(30),
            Duration.ofMinutes(10),
            Duration.ofSeconds(30),
            MAX_CONNECTIONS,
            MAX_CLIENT_CONNECTIONS);

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

    /** A copy with other time-outs. */
    public Bounds withTimeouts(Duration read, Duration request, Duration drain) {
      return new Bounds(maxBodyBytes, read, request, drain, maxConnections, maxClientConnections);
    }

    /** A copy with other numbers of connections. */
    public Bounds withConnections(int most, int mostOfAnAddress) {
      return new Bounds(
          maxBodyBytes, readTimeout, requestTimeout, drainTimeout, most, mostOfAnAddress);
    }
  }

  public ServerOptions {
    if (port < 0 || port > 65535) {
      throw new SettingException("port", port + " is outside 0..65535; use 0 for any that is free");
    }
  }

  /** The defaults at a port of this machine's own. */
  public static ServerOptions of(int port) {
    return new ServerOptions("127.0.0.1", port, Access.OPEN, Bounds.DEFAULT);
  }

  /** A copy with other keys, host names and certificates. */
  public ServerOptions withAccess(Access other) {
    return new ServerOptions(host, port, other, bounds);
  }

  /** A copy with other bounds. */
  public ServerOptions withBounds(Bounds other) {
    return new ServerOptions(host, port, access, other);
  }
}
