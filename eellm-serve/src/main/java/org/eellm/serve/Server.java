package org.eellm.serve;

import io.helidon.common.configurable.Resource;
import io.helidon.common.pki.Keys;
import io.helidon.common.tls.Tls;
import io.helidon.http.DirectHandler;
import io.helidon.webserver.ErrorHandling;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.WebServerConfig;
import io.helidon.webserver.http.DirectHandlers;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.eellm.config.SettingException;
import org.eellm.decode.Engine;
import org.eellm.serve.connection.Connections;

/**
 * The HTTP server: OpenAI's completions and chat, EE-LLM's {@code /api}, health, metrics, and the
 * page. Answers 503 until it has a model ({@link #serve}).
 */
public final class Server implements AutoCloseable {
  /** How long a connection may stay open without requests, at least. */
  private static final Duration IDLE = Duration.ofMinutes(1);

  private final ServerOptions options;
  private final Metrics metrics;
  private final Connections connections;
  private final WebServer web;
  private final Lifecycle lifecycle = new Lifecycle();

  private Server(ServerOptions options) {
    this.options = options;
    metrics =
        new Metrics(
            () ->
                lifecycle
                    .service()
                    .map(ready -> ready.model().engine().status())
                    .orElse(new Engine.Status(0, 0, 0, 0)));
    ServerOptions.Bounds bounds = options.bounds();
    connections =
        new Connections(
            bounds.readTimeout(),
            bounds.maxConnections(),
            bounds.maxClientConnections(),
            options.access().tls().isPresent());
    WebServerConfig.Builder builder =
        WebServer.builder()
            .host(options.host())
            .port(options.port())
            .shutdownHook(false)
            .useNio(false) // its sockets know neither time-outs nor whether a client has gone
            .maxTcpConnections(bounds.maxConnections())
            .connectionOptions(connections)
            .protocolsDiscoverServices(false)
            .addConnectionSelector(connections)
            // Counted from a connection's last request, which may still be in work.
            .idleConnectionTimeout(bounds.requestTimeout().plus(IDLE))
            // Without it a chunk would be read into memory whole, however long.
            .maxPayloadSize(bounds.maxBodyBytes())
            .errorHandling(ErrorHandling.builder().includeEntity(true).build())
            .directHandlers(refusals())
            .routing(new Routes(options, metrics, connections, lifecycle)::addTo);
    options.access().tls().ifPresent(files -> builder.tls(tls(files)));
    web = builder.build();
  }

  private static Tls tls(ServerOptions.TlsFiles files) {
    requireReadable("tls-certificate", files.certificates());
    requireReadable("tls-key", files.key());
    try {
      Keys keys =
          Keys.builder()
              .pem(
                  pem ->
                      pem.certChain(Resource.create(files.certificates()))
                          .key(Resource.create(files.key())))
              .build();
      Tls tls = Tls.builder().privateKey(keys).privateKeyCertChain(keys).build();
      tls.newEngine(); // finds what the keys lack
      return tls;
    } catch (RuntimeException e) {
      throw new SettingException(
          "tls-key",
          "'%s' and '%s' are no key and certificate in PEM that belong together; use a key without a password"
              .formatted(files.key(), files.certificates()));
    }
  }

  private static void requireReadable(String option, Path file) {
    if (!Files.isRegularFile(file) || !Files.isReadable(file)) {
      throw new SettingException(option, "'%s' cannot be read; give a PEM file".formatted(file));
    }
  }

  private DirectHandlers refusals() {
    ProtocolErrors errors = new ProtocolErrors(options, connections, metrics);
    DirectHandlers.Builder handlers = DirectHandlers.builder();
    for (DirectHandler.EventType event : DirectHandler.EventType.values()) {
      handlers.addHandler(event, errors);
    }
    return handlers.build();
  }

  /**
   * Listens from now on.
   *
   * @throws ServeException if it cannot listen there
   */
  public static Server start(ServerOptions options) {
    requireFree(options);
    Server server = new Server(options);
    server.web.start();
    if (!server.web.isRunning()) {
      throw cannotListen(options, "the log says why");
    }
    return server;
  }

  /** Helidon only logs where it cannot listen. */
  private static void requireFree(ServerOptions options) {
    try (ServerSocket socket = new ServerSocket()) {
      socket.setReuseAddress(true);
      socket.bind(new InetSocketAddress(options.host(), options.port()));
    } catch (IOException e) {
      throw cannotListen(options, Responses.firstLine(e));
    }
  }

  private static ServeException cannotListen(ServerOptions options, String reason) {
    return new ServeException(
        "cannot listen at %s:%d: %s; use another --port, or 0 for any that is free"
            .formatted(options.host(), options.port(), reason));
  }

  /** The port it listens at. */
  public int port() {
    return web.port();
  }

  /** Serves a model from now on; its engine has to outlive this. */
  public void serve(ServedModel model) {
    lifecycle.serve(new CompletionService(model, metrics));
  }

  /**
   * Stops in good order: refuses new requests, waits for those in work as long as the options say,
   * ends the others, and closes. From then on it needs its engine no more.
   */
  public void stop() {
    lifecycle.stop(options.bounds().drainTimeout());
    if (web.isRunning()) {
      web.stop();
    }
  }

  /** Stops, if that has not been done. */
  @Override
  public void close() {
    stop();
  }
}
