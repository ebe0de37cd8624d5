package org.eellm.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import org.eellm.config.HeadId;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.ScoreListener;
import org.eellm.decode.token.GeneratedToken.Alternative;
import org.eellm.decode.token.Prediction;
import org.eellm.serve.json.HttpJson;

/**
 * {@code POST /v1/lens}: what every head says of each token of a text. Keys and values are exact,
 * so these are the predictions that decide where a token leaves, whatever the threshold.
 */
final class Lens {
  /** The figure of the model's own calibration. */
  private static final String CALIBRATED = "calibrated";

  private final ServedModel model;
  private final List<Integer> prompt;
  private final List<Integer> continuation;
  private final String param;
  private final int top;
  private final List<HeadId> heads;
  private final List<ObjectNode> tokens = new ArrayList<>();

  /**
   * @param prompt ids in front, at least one
   * @param continuation the ids to ask about, at least one
   * @param param the request's field with the prompt, for messages
   * @param top how many of each head's most probable ids to tell
   */
  Lens(ServedModel model, List<Integer> prompt, List<Integer> continuation, String param, int top) {
    this.model = model;
    this.prompt = prompt;
    this.continuation = continuation;
    this.param = param;
    this.top = top;
    heads = HeadId.all(model.exits());
  }

  ServedModel model() {
    return model;
  }

  String param() {
    return param;
  }

  /** For the engine, one after the other; whose ends say that all is known. */
  List<Request> requests() {
    List<Integer> text = new ArrayList<>(prompt);
    text.addAll(continuation);
    List<Request> requests = new ArrayList<>();
    requests.add(Request.score(text, prompt.size(), heads, this::add));
    if (rule().orElse(null) instanceof Calibration.OfGates gates
        && !model.model().vocabulary().draftIds().isEmpty()) {
      List<HeadId> gated = gates.byLayer().keySet().stream().<HeadId>map(HeadId::exit).toList();
      ToDoubleFunction<Prediction> confidence = gates.confidence();
      ScoreListener listener =
          (prediction, _) -> head(prediction).put(CALIBRATED, confidence.applyAsDouble(prediction));
      requests.add(Request.score(text, prompt.size(), gated, listener).ofShortList());
    }
    return requests;
  }

  /** What the model's own calibration compares with its thresholds. */
  private Optional<Calibration.Rule> rule() {
    return model.model().calibration().map(Calibration::rule);
  }

  private ObjectNode head(Prediction prediction) {
    JsonNode said = tokens.get(prediction.position() - prompt.size()).path("heads");
    return (ObjectNode) said.get(heads.indexOf(prediction.headId()));
  }

  private void add(Prediction prediction, int id) {
    int place = prediction.position() - prompt.size();
    while (tokens.size() <= place) {
      int next = continuation.get(tokens.size());
      ObjectNode token = EarlyExitJson.putToken(HttpJson.object(), next, model.tokenizer());
      token.putArray("heads");
      tokens.add(token);
    }
    ObjectNode head = ((ArrayNode) tokens.get(place).path("heads")).addObject();
    head.put("confidence", prediction.maxProbability());
    for (PolicyName policy : PolicyName.withThreshold()) {
      double figure = policy.thresholdRule().orElseThrow().figure().applyAsDouble(prediction);
      head.put(policy.toString().replace('-', '_'), figure);
    }
    if (rule().orElse(null) instanceof Calibration.OfPolicy own) {
      head.put(CALIBRATED, own.confidence().applyAsDouble(prediction));
    }
    head.put("logprob", prediction.logProbability(id));
    ArrayNode best = head.putArray("top");
    for (Alternative alternative : prediction.top(top)) {
      EarlyExitJson.putToken(best.addObject(), alternative.id(), model.tokenizer())
          .put("logprob", alternative.logProbability());
    }
  }

  /** The answer: for each token, shallowest head first, its choices and how sure it is. */
  ObjectNode json() {
    ObjectNode root = HttpJson.object();
    root.put("object", "lens");
    root.put("model", model.name());
    ArrayNode names = root.putArray("heads");
    heads.forEach(head -> names.add(head.toString()));
    root.put("prompt_tokens", prompt.size());
    root.putArray("tokens").addAll(tokens);
    return root;
  }
}
