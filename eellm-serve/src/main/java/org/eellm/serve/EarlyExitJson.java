package org.eellm.serve;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.eellm.config.HeadId;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.exit.PolicyRule;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.request.Draft;
import org.eellm.decode.request.Result;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.serve.GenerationStream.Event;
import org.eellm.serve.json.HttpJson;

/** Where tokens left, as JSON. */
final class EarlyExitJson {
  private EarlyExitJson() {}

  /** An object for each token: what it is, where it left, and when. */
  static ArrayNode tokens(List<Event.Token> tokens, Tokenizer tokenizer) {
    ArrayNode array = JsonNodeFactory.instance.arrayNode();
    for (Event.Token event : tokens) {
      GeneratedToken token = event.token();
      putToken(array.addObject(), token.id(), tokenizer)
          .put("head", token.head().toString())
          .put("layer", token.layer())
          .put("confidence", token.confidence())
          .put("drafted", token.drafted())
          .put("seconds", event.seconds());
    }
    return array;
  }

  /** Settings that were said, in the words of a request's {@code early_exit}. */
  static ObjectNode settings(DecodingSettings settings) {
    ObjectNode root = HttpJson.object();
    Optional<Calibration> calibration = settings.get(DecodingSetting.CALIBRATION);
    settings
        .settings()
        .filter(setting -> setting.isRequestable())
        // The threshold is among the calibration's.
        .filter(setting -> setting != DecodingSetting.THRESHOLD || calibration.isEmpty())
        .forEach(setting -> put(root, setting.field(), settings.get(setting).orElseThrow()));
    calibration.ifPresent(
        read -> {
          root.put("calibration", read.rule().name());
          putByLayer(root.putObject("thresholds"), thresholds(settings, read));
          if (read.rule()
                  instanceof
                  Calibration.OfPolicy(PolicyName _, SortedMap<Integer, Double> temperatures)
              && !temperatures.isEmpty()) {
            putByLayer(root.putObject("temperatures"), temperatures);
          }
        });
    return root;
  }

  private static void put(ObjectNode root, String field, Object value) {
    switch (value) {
      case Integer number -> root.put(field, number);
      case Double number -> root.put(field, number);
      case List<?> layers -> {
        ArrayNode array = root.putArray(field);
        layers.forEach(layer -> array.add((Integer) layer));
      }
      case ThresholdSetting.Same(double threshold) -> root.put(field, threshold);
      case ThresholdSetting.PerLayer(SortedMap<Integer, Double> byLayer) ->
          putByLayer(root.putObject(field), byLayer);
      default -> root.put(field, value.toString());
    }
  }

  /** The exit policies by name: when a token leaves, and the defaults of what they take. */
  static ObjectNode policies() {
    ObjectNode policies = HttpJson.object();
    for (PolicyName name : PolicyName.values()) {
      ObjectNode policy = policies.putObject(name.toString());
      policy.put("description", name.description());
      name.thresholdRule()
          .ifPresent(
              rule ->
                  policy
                      .put("threshold", rule.defaultThreshold())
                      .put("scale", rule.scale().toString()));
      if (name.rule() instanceof PolicyRule.Counted rule) {
        policy.put("number", DecodingSetting.of(rule).field()).put("meaning", rule.meaning());
      }
      DecodingSetting.all().stream()
          .filter(setting -> setting.isRequestable())
          .filter(setting -> name.rule().settings().contains(setting.name()))
          .forEach(
              setting -> setting.usual().ifPresent(value -> put(policy, setting.field(), value)));
    }
    return policies;
  }

  /** A calibration: what it compares, on which scale, and with what. */
  static ObjectNode calibration(Calibration calibration) {
    Calibration.Rule rule = calibration.rule();
    ObjectNode root = HttpJson.object();
    root.put("policy", rule.name());
    root.put("scale", rule.thresholdRule().scale().toString());
    putByLayer(root.putObject("thresholds"), calibration.thresholds());
    return root;
  }

  private static SortedMap<Integer, Double> thresholds(
      DecodingSettings settings, Calibration calibration) {
    Optional<ThresholdSetting> threshold = settings.get(DecodingSetting.THRESHOLD);
    if (threshold.isEmpty()) {
      return calibration.thresholds();
    }
    return switch (threshold.get()) {
      case ThresholdSetting.Same(double value) -> calibration.withThreshold(value).thresholds();
      case ThresholdSetting.PerLayer(SortedMap<Integer, Double> byLayer) -> byLayer;
    };
  }

  private static void putByLayer(ObjectNode object, SortedMap<Integer, Double> numbers) {
    numbers.forEach((layer, value) -> object.put(layer.toString(), value));
  }

  /** An object for each draft: where it stood, by whom it was, and how much of it was accepted. */
  static ArrayNode drafts(List<Draft> drafts, Tokenizer tokenizer) {
    ArrayNode array = JsonNodeFactory.instance.arrayNode();
    for (Draft draft : drafts) {
      ObjectNode object = array.addObject().put("at", draft.step());
      object.put("by", draft.exit().map(HeadId::toString).orElse("text"));
      object.put("accepted", draft.accepted());
      ArrayNode tokens = object.putArray("tokens");
      draft.ids().forEach(id -> putToken(tokens.addObject(), id, tokenizer));
    }
    return array;
  }

  /** A token's id, its text, and the bytes it adds, which may be a part of a character or none. */
  static ObjectNode putToken(ObjectNode object, int id, Tokenizer tokenizer) {
    object.put("id", id).put("token", tokenizer.piece(id));
    ArrayNode bytes = object.putArray("bytes");
    for (byte value : tokenizer.bytes(id)) {
      bytes.add(value & 0xFF);
    }
    return object;
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
    ObjectNode metrics = HttpJson.object();
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
