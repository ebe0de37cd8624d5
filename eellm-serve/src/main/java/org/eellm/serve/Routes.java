package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.helidon.common.buffers.DataReader;
import io.helidon.common.socket.SocketWriterException;
import io.helidon.http.HeaderNames;
import io.helidon.http.HeaderValues;
import io.helidon.http.HttpException;
import io.helidon.http.Method;
import io.helidon.http.PathMatchers;
import io.helidon.http.Status;
import io.helidon.webserver.CloseConnectionException;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.Handler;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import io.helidon.webserver.http.ServerRequest;
import io.helidon.webserver.http.ServerResponse;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Map;
import org.eellm.serve.access.ApiKey;
import org.eellm.serve.connection.Connection;
import org.eellm.serve.connection.Connections;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.json.HttpJson;
import org.eellm.serve.page.PageFile;

/** The server's paths, and what happens at each. */
final class Routes {
  /** With what may have slashes in it. */
  private static final String MODEL_PATH = "/v1/models/{+name}";

  /** Headers that let browsers only show an answer by itself, with nothing of other sites. */
  private static final Map<String, String> SECURITY_HEADERS =
      Map.of(
          "Content-Security-Policy",
          "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
              + " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
          "X-Frame-Options",
          "DENY",
          "X-Content-Type-Options",
          "nosniff",
          "Cross-Origin-Resource-Policy",
          "same-origin",
          "Referrer-Policy",
          "no-referrer");

  private final ServerOptions options;
  private final Metrics metrics;
  private final Connections connections;
  private final Lifecycle lifecycle;
  private final RequestBody body;

  Routes(ServerOptions options, Metrics metrics, Connections connections, Lifecycle lifecycle) {
    this.options = options;
    this.metrics = metrics;
    this.connections = connections;
    this.lifecycle = lifecycle;
    body = new RequestBody(options.bounds());
  }

  /** Tells the web server who takes what. */
  void addTo(HttpRouting.Builder routing) {
    routing.addFilter(this::count);
    new AccessFilters(options.access()).addTo(routing);
    read(routing, "/health", this::health);
    read(routing, "/health/live", (req, res) -> sendState(req, res, "ok")); // the process answers
    read(routing, "/health/ready", this::health);
    read(routing, "/metrics", this::metrics);
    read(routing, "/v1/models", this::models);
    read(routing, MODEL_PATH, this::modelNamed);
    post(routing, "/v1/completions", (req, res) -> texts(req, res, OpenAiFormat.COMPLETION));
    post(routing, "/v1/chat/completions", (req, res) -> texts(req, res, OpenAiFormat.CHAT));
    post(routing, "/v1/embeddings", this::embeddings);
    post(routing, "/v1/lens", this::lens);
    post(routing, "/tokenize", this::tokenize);
    post(routing, "/detokenize", this::detokenize);
    routing.put("/api", counted(this::megatron));
    routing.any("/api", refuseMethod("PUT"));
    routing.any("/v1/responses", Routes::refuseResponses);
    PageFile.all()
        .forEach((path, file) -> read(routing, path, (req, res) -> sendFile(file, req, res)));
    routing.any(
        (req, res) -> {
          throw ApiException.refused(
              404,
              "unknown_path",
              "there is no %s %s here; see docs/serve.md for the paths"
                  .formatted(req.prologue().method().text(), Fields.shown(req.path().path())));
        });
    routing.error(ApiException.class, Responses::refuse);
    routing.error(
        HttpException.class, (req, res, e) -> Responses.refuse(req, res, Responses.ofHelidon(e)));
    routing.error(
        CloseConnectionException.class,
        (req, res, e) -> {
          throw e;
        });
    routing.error(Throwable.class, Responses::fail);
  }

  private static void read(HttpRouting.Builder routing, String path, Handler handler) {
    routing.route(Method.predicate(Method.GET, Method.HEAD), PathMatchers.create(path), handler);
    routing.any(path, refuseMethod("GET, HEAD"));
  }

  private void post(HttpRouting.Builder routing, String path, Handler handler) {
    routing.post(path, counted(handler));
    routing.any(path, refuseMethod("POST"));
  }

  private static Handler refuseMethod(String allowed) {
    return (req, res) -> {
      res.header(HeaderNames.ALLOW, allowed);
      throw ApiException.refused(
          405,
          "method_not_allowed",
          "%s takes %s, not %s"
              .formatted(Fields.shown(req.path().path()), allowed, req.prologue().method().text()));
    };
  }

  private void count(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    SECURITY_HEADERS.forEach((name, value) -> response.header(name, value));
    response.header(RequestId.HEADER, RequestId.of(request.headers()));
    try {
      chain.proceed();
    } finally {
      metrics.answered(
          request.matchingPattern().filter(known -> !known.isEmpty()).orElse("other"),
          response.status().code());
      request
          .context()
          .get(ApiKey.class)
          .ifPresent(key -> metrics.answered(key, response.status().code()));
    }
    Connection connection = connections.current();
    boolean whole = !request.content().hasEntity() || request.content().consumed();
    connection.requestIsAnswered(whole);
    // Helidon says that it closes, and goes on reading.
    if (request.headers().containsToken(HeaderValues.CONNECTION_CLOSE)
        || response.headers().containsToken(HeaderValues.CONNECTION_CLOSE)) {
      if (!whole) {
        connection.drain();
      }
      throw new CloseConnectionException("the connection ends with this answer");
    }
  }

  private static void sendFile(PageFile file, ServerRequest request, ServerResponse response) {
    response.header(HeaderNames.ETAG, file.tag());
    if (request.headers().value(HeaderNames.IF_NONE_MATCH).filter(file::isAmong).isPresent()) {
      response.status(Status.NOT_MODIFIED_304).send();
    } else {
      response.header(HeaderNames.CONTENT_TYPE, file.type());
      Responses.send(request, response, file.content());
    }
  }

  /** OpenAI's newer API, which some clients ask by default. */
  private static void refuseResponses(ServerRequest request, ServerResponse response) {
    throw ApiException.refused(
        404,
        "unknown_path",
        "/v1/responses is not offered; have the client ask for chat completions: openai.chat(MODEL)"
            + " in the package ai, client.chat.completions in OpenAI's clients");
  }

  private void health(ServerRequest request, ServerResponse response) {
    sendState(request, response, lifecycle.state());
  }

  private static void sendState(ServerRequest request, ServerResponse response, String state) {
    response.status(state.equals("ok") ? 200 : 503);
    Responses.send(request, response, HttpJson.object().put("status", state));
  }

  private void metrics(ServerRequest request, ServerResponse response) {
    response.header(HeaderNames.CONTENT_TYPE, Metrics.CONTENT_TYPE);
    Responses.send(request, response, metrics.text());
  }

  private void models(ServerRequest request, ServerResponse response) {
    ObjectNode root = HttpJson.object();
    root.put("object", "list");
    ServedModel model = lifecycle.ready().model();
    ArrayNode data = root.putArray("data");
    model.all().forEach(each -> data.add(describe(each, model)));
    Responses.send(request, response, root);
  }

  private void modelNamed(ServerRequest request, ServerResponse response) {
    ServedModel model = lifecycle.ready().model();
    String name = request.path().pathParameters().get("name");
    Responses.send(request, response, describe(model.named(name), model));
  }

  private static ObjectNode describe(ServedModel model, ServedModel base) {
    ObjectNode root = HttpJson.object();
    root.put("id", model.name());
    root.put("object", "model");
    root.put("created", model.created());
    root.put("owned_by", "eellm");
    if (model.adapter() > 0) {
      root.put("parent", base.name());
    }
    root.put("max_model_len", model.context());
    ArrayNode prompts = root.putArray("prompts");
    model.examples().forEach(prompts::add);
    ObjectNode earlyExit = root.putObject("early_exit");
    earlyExit.put("layers", model.layers());
    var exits = earlyExit.putArray("exits");
    model.exits().forEach(exits::add);
    earlyExit.set("defaults", EarlyExitJson.settings(model.defaults()));
    earlyExit.set("policies", EarlyExitJson.policies());
    model
        .model()
        .calibration()
        .ifPresent(own -> earlyExit.set("calibration", EarlyExitJson.calibration(own)));
    return root;
  }

  private void texts(ServerRequest request, ServerResponse response, OpenAiFormat format) {
    CompletionService ready = lifecycle.ready();
    CompletionRequest texts =
        body.read(
            request,
            fields -> {
              RequestReader reader = new RequestReader(ready.model(), fields);
              return format == OpenAiFormat.CHAT ? reader.chat() : reader.completion();
            });
    RequestContext exchange = exchange();
    if (texts.stream()) {
      ready.stream(
          texts,
          format,
          exchange,
          parts -> Responses.stream(request, response, connections.current(), parts));
    } else {
      Responses.send(request, response, ready.answer(texts, format, exchange).whole());
    }
  }

  private void lens(ServerRequest request, ServerResponse response) {
    CompletionService ready = lifecycle.ready();
    Lens lens = body.read(request, fields -> new RequestReader(ready.model(), fields).lens());
    Responses.send(request, response, ready.lens(lens, exchange()));
  }

  private void embeddings(ServerRequest request, ServerResponse response) {
    CompletionService ready = lifecycle.ready();
    Embeddings texts =
        body.read(request, fields -> new RequestReader(ready.model(), fields).embeddings());
    ready.embed(texts, exchange(), answer -> Responses.send(request, response, answer));
  }

  private void tokenize(ServerRequest request, ServerResponse response) {
    ServedModel model = lifecycle.ready().model();
    List<Integer> ids = body.read(request, fields -> new RequestReader(model, fields).tokenize());
    ObjectNode root = HttpJson.object();
    root.put("count", ids.size());
    root.put("max_model_len", model.context());
    ArrayNode tokens = root.putArray("tokens");
    ids.forEach(tokens::add);
    Responses.send(request, response, root);
  }

  private void detokenize(ServerRequest request, ServerResponse response) {
    ServedModel model = lifecycle.ready().model();
    String text = body.read(request, fields -> new RequestReader(model, fields).detokenize());
    Responses.send(request, response, HttpJson.object().put("prompt", text));
  }

  private void megatron(ServerRequest request, ServerResponse response) {
    CompletionService ready = lifecycle.ready();
    CompletionRequest texts = body.read(request, fields -> MegatronApi.read(fields, ready.model()));
    RequestContext exchange = exchange();
    Reply reply = ready.answer(texts, OpenAiFormat.COMPLETION, exchange);
    double seconds = (System.nanoTime() - exchange.start()) / 1e9;
    Responses.send(request, response, MegatronApi.write(texts, reply, ready.model(), seconds));
  }

  /** Counts a handler's requests in work, and clients that have gone amid one. */
  private Handler counted(Handler handler) {
    return (request, response) -> {
      lifecycle.begin();
      try {
        handler.handle(request, response);
      } catch (RequestContext.ClientDisconnected
          | UncheckedIOException
          | CloseConnectionException
          | SocketWriterException
          | DataReader.InsufficientDataAvailableException e) {
        metrics.disconnected();
        throw new CloseConnectionException(Responses.firstLine(e), e);
      } finally {
        lifecycle.end();
      }
    };
  }

  /** A request whose body has been read: from here on its time counts. */
  private RequestContext exchange() {
    return new RequestContext(
        System.nanoTime(),
        options.bounds().requestTimeout(),
        connections.current().watch(),
        lifecycle::aborted);
  }
}
