package org.eellm.serve;

import java.time.Duration;
import java.util.Optional;
import org.eellm.serve.ServerOptions.Access;
import org.eellm.serve.ServerOptions.Bounds;
import org.eellm.serve.access.AllowedOrigins;
import org.eellm.serve.access.ApiKeys;
import org.eellm.serve.access.HostNames;

/** Options of servers on this machine's own address that differ in one thing. */
final class TestOptions {
  /** No key, no name but this machine's own and addresses, and no page but the server's. */
  static final Access OPEN =
      new Access(ApiKeys.NONE, HostNames.LOCAL, AllowedOrigins.NONE, Optional.empty());

  static final Bounds DEFAULT =
      new Bounds(
          Bounds.MAX_BODY_BYTES,
          Duration.ofSeconds(30),
          Duration.ofMinutes(10),
          Duration.ofSeconds(30),
          Bounds.MAX_CONNECTIONS,
          Bounds.MAX_CLIENT_CONNECTIONS);

  private TestOptions() {}

  static ServerOptions at(int port) {
    return new ServerOptions("127.0.0.1", port, OPEN, DEFAULT);
  }

  static ServerOptions with(ServerOptions options, Bounds bounds) {
    return new ServerOptions(options.host(), options.port(), options.access(), bounds);
  }

  static ServerOptions with(Access access) {
    return new ServerOptions("127.0.0.1", 0, access, DEFAULT);
  }

  static ServerOptions with(Bounds bounds) {
    return new ServerOptions("127.0.0.1", 0, OPEN, bounds);
  }

  static Bounds timeouts(Duration read, Duration request, Duration drain) {
    return new Bounds(
        Bounds.MAX_BODY_BYTES,
        read,
        request,
        drain,
        Bounds.MAX_CONNECTIONS,
        Bounds.MAX_CLIENT_CONNECTIONS);
  }

  static Bounds connections(int most, int mostOfAnAddress) {
    Bounds usual = DEFAULT;
    return new Bounds(
        usual.maxBodyBytes(),
        usual.readTimeout(),
        usual.requestTimeout(),
        usual.drainTimeout(),
        most,
        mostOfAnAddress);
  }
}
