package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.common.buffers.DataReader;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.DirectHandler;
import io.helidon.http.HeaderName;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.http.RequestException;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.ErrorHandling;
import io.helidon.webserver.WebServer;
import io.helidon.webserver.http.DirectHandlers;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import io.helidon.webserver.http1.Http1Config;
import io.helidon.webserver.staticcontent.ClasspathHandlerConfig;
import io.helidon.webserver.staticcontent.StaticContentFeature;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.eellm.generate.Engine;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The HTTP server: OpenAI's completions and chat, EE-LLM's {@code /api}, health, metrics, and the
 * page. Answers 503 until it has a model ({@link #serve}).
 */
public final class Server implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Server.class);

  /** How long a connection may stay open without requests, at least. */
  private static final Duration IDLE = Duration.ofMinutes(1);

  /** Refusals amid a body. */
  private static final Set<String> UNREAD =
      Set.of("body_too_large", "request_timeout", "bad_request");

  /** With what may have slashes in it. */
  private static final String MODEL_PATH = "/v1/models/{+name}";

  private static final HeaderName ALLOW = HeaderNames.create("Allow");

  private final ServerOptions options;
  private final Metrics metrics;
  private final Sockets sockets;
  private final WebServer web;
  private final AtomicInteger inWork = new AtomicInteger();
  private volatile Optional<TextService> service = Optional.empty();
  private volatile boolean stopping;
  private volatile boolean aborted;

  private Server(ServerOptions options) {
    this.options = options;
    metrics =
        new Metrics(
            () ->
                service
                    .map(ready -> ready.model().engine().status())
                    .orElse(new Engine.Status(0, 0, 0, 0)));
    sockets = new Sockets(options.readTimeout());
    web =
        WebServer.builder()
            .host(options.host())
            .port(options.port())
            .shutdownHook(false)
            .useNio(false) // its sockets know neither time-outs nor whether a client has gone
            .maxTcpConnections(options.maxConnections())
            .connectionOptions(sockets)
            // Counted from a connection's last request, which may still be in work.
            .idleConnectionTimeout(options.requestTimeout().plus(IDLE))
            .addProtocol(Http1Config.builder().addReceiveListener(sockets).build())
            // Without it a chunk would be read into memory whole, however long.
            .maxPayloadSize(options.maxBodyBytes())
            .errorHandling(ErrorHandling.builder().includeEntity(true).build())
            .directHandlers(refusals())
            .routing(this::route)
            .build();
  }

  private DirectHandlers refusals() {
    ProtocolErrors errors = new ProtocolErrors(options, sockets, metrics);
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
      throw cannotListen(options, firstLine(e));
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
    service = Optional.of(new TextService(model, metrics));
  }

  private void route(HttpRouting.Builder routing) {
    routing.addFilter(this::count);
    routing.addFilter(this::authorize);
    routing.get("/health", this::health);
    routing.get("/metrics", this::metrics);
    routing.get("/v1/models", this::models);
    routing.get(MODEL_PATH, this::modelNamed);
    routing.post("/v1/completions", counted((req, res) -> texts(req, res, Shape.COMPLETION)));
    routing.post("/v1/chat/completions", counted((req, res) -> texts(req, res, Shape.CHAT)));
    routing.put("/api", counted(this::megatron));
    for (Map.Entry<String, String> path :
        Map.of(
                "/health",
                "GET",
                "/metrics",
                "GET",
                "/v1/models",
                "GET",
                MODEL_PATH,
                "GET",
                "/v1/completions",
                "POST",
                "/v1/chat/completions",
                "POST",
                "/api",
                "PUT")
            .entrySet()) {
      routing.any(path.getKey(), refuseMethod(path.getValue()));
    }
    routing.register(
        "/",
        StaticContentFeature.createService(
            ClasspathHandlerConfig.builder()
                .location("/org/eellm/serve/page")
                .welcome("index.html")
                .build()));
    routing.any(
        (req, res) -> {
          throw ApiException.refused(
              404,
              "unknown_path",
              "there is no %s %s here; see docs/serving.md for the paths"
                  .formatted(req.prologue().method().text(), Fields.shown(req.path().path())));
        });
    routing.error(ApiException.class, (req, res, e) -> send(res, e));
    routing.error(HttpException.class, (req, res, e) -> send(res, ofHelidon(e)));
    routing.error(
        CloseConnectionException.class,
        (req, res, e) -> {
          throw e;
        });
    routing.error(Throwable.class, (req, res, e) -> fail(res, e));
  }

  private static Handler refuseMethod(String allowed) {
    return (req, res) -> {
      res.header(ALLOW, allowed);
      throw ApiException.refused(
          405,
          "method_not_allowed",
          "%s takes %s, not %s"
              .formatted(Fields.shown(req.path().path()), allowed, req.prologue().method().text()));
    };
  }

  private void count(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    chain.proceed();
    metrics.answered(
        request.matchingPattern().filter(known -> !known.isEmpty()).orElse("other"),
        response.status().code());
    // Helidon says that it closes, and goes on reading.
    if (request.headers().containsToken(HeaderValues.CONNECTION_CLOSE)
        || response.headers().containsToken(HeaderValues.CONNECTION_CLOSE)) {
      throw new CloseConnectionException("the connection ends with this answer");
    }
  }

  /** Everything but health and the page itself needs the key. */
  private void authorize(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    String path = request.path().path();
    boolean guarded = path.startsWith("/v1") || path.equals("/api") || path.equals("/metrics");
    if (guarded && options.apiKey().isPresent()) {
      String given = request.headers().value(HeaderNames.AUTHORIZATION).orElse("");
      byte[] wanted = ("Bearer " + options.apiKey().get()).getBytes(StandardCharsets.UTF_8);
      if (!MessageDigest.isEqual(wanted, given.getBytes(StandardCharsets.UTF_8))) {
        response.header("WWW-Authenticate", "Bearer");
        send(
            response,
            ApiException.refused(
                401,
                "invalid_api_key",
                "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'"));
        return;
      }
    }
    chain.proceed();
  }

  private void health(ServerRequest request, ServerResponse response) {
    String state =
        stopping
            ? "stopping"
            : service
                .map(ready -> ready.model().engine().isOpen() ? "ok" : "failed")
                .orElse("loading");
    response.status(state.equals("ok") ? 200 : 503);
    send(response, Json.object().put("status", state));
  }

  private void metrics(ServerRequest request, ServerResponse response) {
    response.header(HeaderNames.CONTENT_TYPE, Metrics.CONTENT_TYPE);
    response.send(metrics.text());
  }

  private void models(ServerRequest request, ServerResponse response) {
    ObjectNode root = Json.object();
    root.put("object", "list");
    root.putArray("data").add(describe(ready().model()));
    send(response, root);
  }

  private void modelNamed(ServerRequest request, ServerResponse response) {
    ServedModel model = ready().model();
    String name = request.path().pathParameters().get("name");
    if (!name.equals(model.name())) {
      throw ApiException.unknownModel(Fields.shown(name), model.name());
    }
    send(response, describe(model));
  }

  private static ObjectNode describe(ServedModel model) {
    ObjectNode root = Json.object();
    root.put("id", model.name());
    root.put("object", "model");
    root.put("created", model.created());
    root.put("owned_by", "eellm");
    root.put("max_model_len", model.context());
    ObjectNode earlyExit = root.putObject("early_exit");
    earlyExit.put("layers", model.layers());
    var exits = earlyExit.putArray("exits");
    model.exits().forEach(exits::add);
    return root;
  }

  private TextService ready() {
    if (stopping) {
      throw ApiException.busy(503, "stopping", "the server stops; try another", 10);
    }
    return service.orElseThrow(
        () -> ApiException.busy(503, "loading", "the model is being loaded; try again soon", 2));
  }

  private void texts(ServerRequest request, ServerResponse response, Shape shape) {
    TextService ready = ready();
    RequestReader reader = new RequestReader(ready.model(), new Fields(body(request), ""));
    TextRequest texts = shape == Shape.CHAT ? reader.chat() : reader.completion();
    Exchange exchange = exchange();
    if (texts.stream()) {
      ready.stream(texts, shape, exchange, parts -> stream(response, parts));
    } else {
      send(response, ready.answer(texts, shape, exchange).whole());
    }
  }

  private void megatron(ServerRequest request, ServerResponse response) {
    TextService ready = ready();
    TextRequest texts = MegatronApi.read(new Fields(body(request), ""), ready.model());
    Exchange exchange = exchange();
    Reply reply = ready.answer(texts, Shape.COMPLETION, exchange);
    double seconds = (System.nanoTime() - exchange.start()) / 1e9;
    send(response, MegatronApi.write(texts, reply, ready.model(), seconds));
  }

  /** Counts a handler's requests in work, and clients that have gone amid one. */
  private Handler counted(Handler handler) {
    return (request, response) -> {
      inWork.incrementAndGet();
      try {
        handler.handle(request, response);
      } catch (Exchange.Gone
          | UncheckedIOException
          | CloseConnectionException
          | SocketWriterException
          | DataReader.InsufficientDataAvailableException e) {
        metrics.disconnected();
        throw new CloseConnectionException(firstLine(e), e);
      } finally {
        inWork.decrementAndGet();
      }
    };
  }

  /** A request whose body has been read: from here on its time counts. */
  private Exchange exchange() {
    return new Exchange(
        System.nanoTime(), options.requestTimeout(), sockets.watch(), () -> aborted);
  }

  private ObjectNode body(ServerRequest request) {
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
    sockets.expectBytes();
    long start = System.nanoTime();
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    byte[] buffer = new byte[16384];
    if (!request.content().hasEntity()) {
      return new byte[0];
    }
    try {
      // Not to be closed: that would wait for the rest of a body that has been refused.
      InputStream in = request.content().inputStream();
      for (int count = in.read(buffer); count >= 0; count = in.read(buffer)) {
        body.write(buffer, 0, count);
        if (System.nanoTime() - start > options.readTimeout().toNanos()) {
          throw tooSlow();
        }
      }
      return body.toByteArray();
    } catch (IOException e) {
      throw isTimeout(e) ? tooSlow() : new UncheckedIOException(e);
    } catch (RequestException e) {
      if (e.status().code() == 413) {
        sockets.drain();
        throw ApiException.tooLarge(options.maxBodyBytes());
      }
      throw malformed(e);
    } catch (NumberFormatException e) {
      throw malformed(e);
    } catch (RuntimeException e) {
      throw isTimeout(e) ? tooSlow() : e;
    }
  }

  private static ApiException malformed(RuntimeException e) {
    return ApiException.refused(
        400, "bad_request", "the body's chunks are malformed: " + Fields.line(firstLine(e)));
  }

  private static boolean isTimeout(Throwable e) {
    for (Throwable cause = e; cause != null; cause = cause.getCause()) {
      if (cause instanceof SocketTimeoutException) {
        return true;
      }
    }
    return false;
  }

  private ApiException tooSlow() {
    return ApiException.refused(
        408,
        "request_timeout",
        "the body was not there within %d seconds".formatted(options.readTimeout().toSeconds()));
  }

  private static void stream(
      ServerResponse response, java.util.function.Consumer<TextService.Sink> parts) {
    response.header(HeaderNames.CONTENT_TYPE, "text/event-stream; charset=utf-8");
    response.header(HeaderNames.CACHE_CONTROL, "no-store");
    response.header("X-Accel-Buffering", "no");
    try (OutputStream out = response.outputStream()) {
      EventStream events = new EventStream(out);
      try {
        parts.accept(events);
        events.done();
      } catch (ApiException e) {
        events.send(Json.error(e));
      } catch (UncheckedIOException
          | SocketWriterException
          | CloseConnectionException
          | Exchange.Gone e) {
        throw e;
      } catch (RuntimeException e) {
        LOG.error("a text failed", e);
        events.send(Json.error(failure(e)));
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void send(ServerResponse response, ApiException e) {
    response.status(e.status());
    e.headers().forEach((name, value) -> response.header(name, value));
    if (UNREAD.contains(e.code().orElse(""))) {
      response.header(HeaderValues.CONNECTION_CLOSE); // the rest of the body is not read
    }
    send(response, Json.error(e));
  }

  private static void send(ServerResponse response, ObjectNode body) {
    response.header(HeaderNames.CONTENT_TYPE, "application/json");
    response.send(Json.bytes(body));
  }

  private static ApiException ofHelidon(HttpException e) {
    int status = e.status().code();
    return status < 500
        ? ApiException.refused(status, "bad_request", firstLine(e))
        : ApiException.failed(status, "server_error", firstLine(e));
  }

  private static void fail(ServerResponse response, Throwable e) {
    LOG.error("a request failed", e);
    send(response, failure(e));
  }

  private static ApiException failure(Throwable e) {
    return ApiException.failed(
        500, "server_error", "the text failed: " + firstLine(e) + "; the server's log says more");
  }

  private static String firstLine(Throwable e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  /**
   * Stops in good order: refuses new requests, waits for those in work as long as the options say,
   * ends the others, and closes. From then on it needs its engine no more.
   */
  public void stop() {
    stopping = true;
    awaitNoneInWork(options.drainTimeout());
    aborted = true;
    awaitNoneInWork(Duration.ofSeconds(2));
    if (web.isRunning()) {
      web.stop();
    }
  }

  /** Stops, if that has not been done. */
  @Override
  public void close() {
    stop();
  }

  private void awaitNoneInWork(Duration most) {
    long end = System.nanoTime() + most.toNanos();
    try {
      while (inWork.get() > 0 && System.nanoTime() < end) {
        Thread.sleep(20);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt(); // whoever interrupts does not want to wait
    }
  }
}
