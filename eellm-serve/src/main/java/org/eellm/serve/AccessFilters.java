package org.eellm.serve;

import io.helidon.http.HeaderName;
import io.helidon.http.HeaderNames;
import io.helidon.http.Method;
import io.helidon.http.Status;
import io.helidon.webserver.http.FilterChain;
import io.helidon.webserver.http.HttpRouting;
import io.helidon.webserver.http.RoutingRequest;
import io.helidon.webserver.http.RoutingResponse;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;
import org.eellm.serve.access.AllowedOrigins;
import org.eellm.serve.access.ApiKey;
import org.eellm.serve.json.ApiException;
import org.eellm.serve.json.Fields;
import org.eellm.serve.page.PageFile;

/** Refuses, before any handler sees them, requests of those who may not ask. */
final class AccessFilters {
  /**
   * Parts that no path here has, as they are or encoded once or more: an empty part, a part of
   * dots, a backslash, or parameters. Servers, proxies and browsers read them in different ways.
   */
  private static final Pattern ODD_PATH =
      Pattern.compile(
          "(?i)%1$s(?:%1$s|%2$s{1,2}(?:%1$s|$))|[\\\\;]|%3$s(?:5c|3b)"
              .formatted("(?:/|%(?:25)*2f)", "(?:\\.|%(?:25)*2e)", "%(?:25)*"));

  private static final HeaderName ASKED_METHOD =
      HeaderNames.create("Access-Control-Request-Method");

  /** The page's paths: it asks for the key. */
  private static final Set<String> PAGE = Set.copyOf(PageFile.all().keySet());

  private final ServerOptions.Access access;

  AccessFilters(ServerOptions.Access access) {
    this.access = access;
  }

  void addTo(HttpRouting.Builder routing) {
    routing.addFilter(AccessFilters::requirePlainPath);
    routing.addFilter(this::requireOwnName);
    routing.addFilter(this::requireAllowedPage);
    routing.addFilter(this::requireKey);
  }

  /** Refuses paths that could be taken for others. */
  private static void requirePlainPath(
      FilterChain chain, RoutingRequest request, RoutingResponse response) {
    String path = request.prologue().uriPath().rawPath();
    if (path.startsWith("/") && !ODD_PATH.matcher(path).find()) {
      chain.proceed();
    } else {
      Responses.refuse(
          request,
          response,
          ApiException.refused(
              400,
              "bad_path",
              "'%s' is no path; send one that begins with / and has no //, .., ; or \\ in it"
                  .formatted(Fields.shown(path))));
    }
  }

  /** Refuses requests for names that other sites can have. */
  private void requireOwnName(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    String host = host(request);
    if (access.hosts().admits(host)) {
      chain.proceed();
    } else {
      Responses.refuse(
          request,
          response,
          ApiException.refused(
              403,
              "host_not_allowed",
              "'%s' is no name of this server; start it with --allow-host and this name"
                  .formatted(Fields.shown(host))));
    }
  }

  private static String host(RoutingRequest request) {
    return request.headers().value(HeaderNames.HOST).orElse("");
  }

  /**
   * Refuses requests that pages of other sites have a browser send, and lets those that are allowed
   * read the answers. A browser asks beforehand, without a key, whether it may send one.
   */
  private void requireAllowedPage(
      FilterChain chain, RoutingRequest request, RoutingResponse response) {
    String origin = request.headers().value(HeaderNames.ORIGIN).orElse("");
    access.origins().headers(origin).forEach((name, value) -> response.header(name, value));
    if (!origin.isEmpty() && !access.origins().admits(origin, host(request))) {
      Responses.refuse(request, response, foreign(origin));
    } else if (!origin.isEmpty()
        && request.prologue().method().equals(Method.OPTIONS)
        && request.headers().contains(ASKED_METHOD)) {
      response.status(Status.NO_CONTENT_204);
      response.header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT");
      response.header("Access-Control-Allow-Headers", "Authorization, *"); // * is not all of them
      response.header("Access-Control-Max-Age", "600");
      response.send();
    } else {
      chain.proceed();
    }
  }

  private static ApiException foreign(String origin) {
    String shown = Fields.shown(origin);
    return ApiException.refused(
        403,
        "origin_not_allowed",
        AllowedOrigins.isOrigin(origin)
            ? "a page of '%1$s' may not ask this server; start it with --allow-origin %1$s"
                .formatted(shown)
            : "a page of '%s' may not ask this server; have it from a web server, and start this one with --allow-origin and its origin"
                .formatted(shown));
  }

  /** Everything but health and the page itself needs a key, if there are any. */
  private void requireKey(FilterChain chain, RoutingRequest request, RoutingResponse response) {
    if (access.keys().isEmpty() || isOpen(request.path().path())) {
      chain.proceed();
      return;
    }
    String given = request.headers().value(HeaderNames.AUTHORIZATION).orElse("");
    Optional<ApiKey> key = access.keys().find(given);
    if (key.isEmpty()) {
      response.header("WWW-Authenticate", "Bearer");
      Responses.refuse(
          request,
          response,
          ApiException.refused(
              401,
              "invalid_api_key",
              "the API key is missing or wrong; send it as 'Authorization: Bearer KEY'"));
    } else {
      if (!key.get().name().isEmpty()) {
        request.context().register(key.get()); // for the log and metrics
      }
      proceed(chain, request, response, key.get());
    }
  }

  private static boolean isOpen(String path) {
    return path.equals("/health") || path.startsWith("/health/") || PAGE.contains(path);
  }

  private static void proceed(
      FilterChain chain, RoutingRequest request, RoutingResponse response, ApiKey key) {
    if (!key.enter()) {
      Responses.refuse(
          request,
          response,
          ApiException.busy(
              429,
              "key_limit",
              "'%s' has %d requests in work, as many as it may; try again when one is done"
                  .formatted(key.name(), key.limit()),
              1));
      return;
    }
    try {
      chain.proceed();
    } finally {
      key.leave();
    }
  }
}
