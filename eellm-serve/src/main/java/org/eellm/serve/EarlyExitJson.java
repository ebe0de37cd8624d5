package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.serve.json.Json;

/** Where tokens left, as JSON. */
final class EarlyExitJson {
  private EarlyExitJson() {}

  /** An object for each token: what it is, and where it left. */
  static ArrayNode tokens(List<GeneratedToken> tokens, Tokenizer tokenizer) {
    ArrayNode array = JsonNodeFactory.instance.arrayNode();
    for (GeneratedToken token : tokens) {
      array
          .addObject()
          .put("id", token.id())
          .put("token", tokenizer.piece(token.id()))
          .put("head", token.head().toString())
          .put("layer", token.layer())
          .put("confidence", token.confidence())
          .put("drafted", token.drafted());
    }
    return array;
  }

  /**
   * The {@code metrics} of a reply.
   *
   * @param tokens of all its texts
   * @param results of these
   * @param seconds from the request to now
   */
  static ObjectNode metrics(
      List<GeneratedToken> tokens, List<Result> results, int layers, double seconds) {
    ObjectNode metrics = Json.object();
    ObjectNode earlyExit = metrics.putObject("early_exit");
    tokens.stream()
        .mapToInt(GeneratedToken::layer)
        .average()
        .ifPresentOrElse(
            mean -> earlyExit.put("mean_layer", mean), () -> earlyExit.putNull("mean_layer"));
    earlyExit.put("layers", layers);
    ObjectNode histogram = earlyExit.putObject("histogram");
    tokens.stream()
        .collect(Collectors.groupingBy(GeneratedToken::head, TreeMap::new, Collectors.counting()))
        .forEach((head, count) -> histogram.put(head.toString(), count));
    earlyExit.put(
        "drafted_tokens",
        results.stream().mapToInt(result -> result.usage().draftedTokens()).sum());
    earlyExit.put(
        "confirmed_tokens",
        results.stream().mapToInt(result -> result.usage().acceptedTokens()).sum());
    metrics.put(
        "queued_seconds", results.stream().mapToDouble(Result::queuedSeconds).max().orElse(0));
    metrics.put(
        "first_token_seconds",
        results.stream()
            .mapToDouble(result -> result.queuedSeconds() + result.firstTokenSeconds())
            .min()
            .orElse(0));
    metrics.put("seconds", seconds);
    metrics.put("tokens_per_second", seconds > 0 ? tokens.size() / seconds : 0);
    return metrics;
  }
}
