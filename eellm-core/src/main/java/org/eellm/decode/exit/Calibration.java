package org.eellm.decode.exit;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.checkpoint.safetensors.ModelFiles;
import org.eellm.config.Architecture;
import org.eellm.config.ConfigException;
import org.eellm.decode.token.Prediction;
import org.eellm.file.InputFiles;
import org.eellm.file.IoErrors;

/**
 * Thresholds found for a model, as a file:
 *
 * <pre>{@code
 * {"policy": "max-probability", "thresholds": {"2": 0.83, "4": 0.91}, "temperatures": {"2": 0.6}}
 * }</pre>
 *
 * <p>or, with gates, whose weights of the hidden state are as many as it has numbers:
 *
 * <pre>{@code
 * {"policy": "gate", "thresholds": {"2": 0.8},
 *  "gates": {"2": {"bias": -1.5, "log_odds": 0.7, "gap": 0.2, "hidden": [0.01, -0.3]}}}
 * }</pre>
 *
 * <p>Further keys are allowed and ignored: they tell people how the thresholds came about.
 *
 * @param rule what is compared with the thresholds
 * @param thresholds by the exits' layers, from 1; only these exits are asked
 */
public record Calibration(Rule rule, SortedMap<Integer, Double> thresholds) {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  /** Gates have some thousands of weights for each exit. */
  private static final int MAX_BYTES = 100_000_000;

  private static final String GATE = "gate";
  private static final String GATE_FORM =
      "{\"bias\": 0, \"log_odds\": 1, \"gap\": 0, \"hidden\": [...]}";

  /** The rule whose figure is compared with the thresholds. */
  public sealed interface Rule {
    String name();

    ThresholdRule thresholdRule();

    /**
     * The figure of a prediction that is compared with a threshold; of {@link OfGates}, of a
     * prediction of the short list.
     */
    ToDoubleFunction<Prediction> confidence();

    ExitPolicy policy(Threshold threshold);
  }

  /**
   * A figure of what exits predict.
   *
   * @param policy which has a threshold
   * @param temperatures by exits' layers: what the policy sees their logits divided by; an exit
   *     without one is seen as it is
   */
  public record OfPolicy(PolicyName policy, SortedMap<Integer, Double> temperatures)
      implements Rule {
    public OfPolicy {
      if (policy.thresholdRule().isEmpty()) {
        throw new IllegalArgumentException("the policy " + policy + " has no thresholds");
      }
      temperatures = Collections.unmodifiableSortedMap(new TreeMap<>(temperatures));
    }

    @Override
    public String name() {
      return policy.toString();
    }

    @Override
    public ThresholdRule thresholdRule() {
      return policy.thresholdRule().orElseThrow();
    }

    @Override
    public ToDoubleFunction<Prediction> confidence() {
      ToDoubleFunction<Prediction> figure = thresholdRule().figure();
      return prediction ->
          figure.applyAsDouble(
              prediction.tempered(temperatures.getOrDefault(prediction.head().layer(), 1.0)));
    }

    @Override
    public ExitPolicy policy(Threshold threshold) {
      return ExitPolicies.tempered(temperatures, thresholdRule().policy(threshold));
    }
  }

  /**
   * The confidence of gates.
   *
   * @param byLayer of their exits, from 1
   */
  public record OfGates(SortedMap<Integer, Gate> byLayer) implements Rule {
    public OfGates {
      byLayer = Collections.unmodifiableSortedMap(new TreeMap<>(byLayer));
    }

    @Override
    public String name() {
      return GATE;
    }

    @Override
    public ThresholdRule thresholdRule() {
      return ThresholdRule.ofGates(byLayer);
    }

    @Override
    public ToDoubleFunction<Prediction> confidence() {
      return thresholdRule().figure();
    }

    @Override
    public ExitPolicy policy(Threshold threshold) {
      return ExitPolicies.gated(byLayer, threshold);
    }
  }

  public static Calibration of(
      PolicyName policy,
      SortedMap<Integer, Double> thresholds,
      SortedMap<Integer, Double> temperatures) {
    return new Calibration(new OfPolicy(policy, temperatures), thresholds);
  }

  public Calibration {
    thresholds = Collections.unmodifiableSortedMap(new TreeMap<>(thresholds));
  }

  public ExitPolicy policy() {
    return policy(Threshold.perLayer(thresholds));
  }

  public ExitPolicy policy(Threshold threshold) {
    return ExitPolicies.among(List.copyOf(thresholds.keySet()), rule.policy(threshold));
  }

  public Calibration withThreshold(double value) {
    SortedMap<Integer, Double> same = new TreeMap<>();
    thresholds.keySet().forEach(layer -> same.put(layer, value));
    return new Calibration(rule, same);
  }

  /**
   * Reads the one that lies in the folder of a model's exits, if one does.
   *
   * @throws ConfigException if it does not have this form, or is of another model
   */
  public static Optional<Calibration> stored(Path folder, Architecture model) {
    if (!ModelFiles.has(folder, ModelFolder.CALIBRATION)) {
      return Optional.empty();
    }
    Path file = ModelFiles.file(folder, ModelFolder.CALIBRATION);
    try {
      Calibration read = read(file);
      read.requireFit(model, file);
      return Optional.of(read);
    } catch (IOException e) {
      throw new ConfigException("%s: cannot be read: %s".formatted(file, IoErrors.reason(e)), e);
    }
  }

  private void requireFit(Architecture model, Path file) {
    List<Integer> exits = model.exits().layers();
    for (int layer : thresholds.keySet()) {
      if (!exits.contains(layer)) {
        throw new ConfigException(
            "%s: thresholds: there is no exit after layer %d, but after %s; remove the file, and calibrate this model"
                .formatted(file, layer, exits));
      }
    }
    int width = model.model().hiddenSize();
    if (rule instanceof OfGates(SortedMap<Integer, Gate> gates)
        && gates.values().stream().anyMatch(gate -> gate.hidden().length != width)) {
      throw new ConfigException(
          "%s: gates: this model's hidden state has %d numbers, and they have other numbers of weights; remove the file, and calibrate this model"
              .formatted(file, width));
    }
  }

  /**
   * Reads a file.
   *
   * @throws ConfigException if it does not have this form
   * @throws IOException if it cannot be read
   */
  public static Calibration read(Path file) throws IOException {
    JsonNode root;
    try {
      root = MAPPER.readTree(InputFiles.text(file, MAX_BYTES));
    } catch (JsonProcessingException e) {
      throw new ConfigException(
          "%s is no JSON; write {\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0.8}}"
              .formatted(file));
    } catch (FileSystemException e) {
      if (e.getReason() == null) {
        throw e;
      }
      throw new ConfigException("%s: %s".formatted(file, e.getReason()), e);
    }
    boolean gated = root.path("policy").asText().equals(GATE);
    Optional<PolicyName> policy =
        gated ? Optional.empty() : Optional.of(name(root.path("policy"), file));
    SortedMap<Integer, Double> thresholds = byLayer(root, "thresholds", file);
    if (thresholds.isEmpty()) {
      throw new ConfigException(
          "%s: thresholds: there are none; write one for each exit, as in {\"2\": 0.8}"
              .formatted(file));
    }
    Rule rule =
        policy
            .<Rule>map(name -> new OfPolicy(name, temperatures(root, thresholds, file)))
            .orElseGet(() -> gates(root, thresholds, file));
    return new Calibration(rule, thresholds);
  }

  private static PolicyName name(JsonNode policy, Path file) {
    return PolicyName.withThreshold().stream()
        .filter(name -> name.toString().equals(policy.asText()))
        .findFirst()
        .orElseThrow(
            () ->
                new ConfigException(
                    "%s: policy: %s; use one of %s"
                        .formatted(
                            file,
                            policy.isMissingNode() ? "is missing" : policy + " has no thresholds",
                            Stream.concat(
                                    PolicyName.withThreshold().stream().map(PolicyName::toString),
                                    Stream.of(GATE))
                                .collect(Collectors.joining(", ")))));
  }

  private static SortedMap<Integer, Double> temperatures(
      JsonNode root, SortedMap<Integer, Double> thresholds, Path file) {
    SortedMap<Integer, Double> temperatures = byLayer(root, "temperatures", file);
    temperatures.forEach(
        (layer, value) -> {
          if (!thresholds.containsKey(layer) || !(value > 0)) {
            throw new ConfigException(
                "%s: temperatures: \"%d\": %s is no positive number for an exit with a threshold; leave it out"
                    .formatted(file, layer, value));
          }
        });
    return temperatures;
  }

  private static OfGates gates(JsonNode root, SortedMap<Integer, Double> thresholds, Path file) {
    if (root.has("temperatures")) {
      throw new ConfigException(
          file + ": temperatures: gates have their own scale; leave them out");
    }
    SortedMap<Integer, Gate> gates = new TreeMap<>();
    thresholds
        .keySet()
        .forEach(
            layer ->
                gates.put(
                    layer,
                    gate(
                        root.path("gates").path(layer.toString()),
                        "%s: gates: \"%d\"".formatted(file, layer))));
    if (root.path("gates").size() > gates.size()) {
      throw new ConfigException(
          "%s: gates: there are some without a threshold; write thresholds for all of them"
              .formatted(file));
    }
    return new OfGates(gates);
  }

  private static Gate gate(JsonNode node, String place) {
    JsonNode hidden = node.path("hidden");
    if (!hidden.isArray() || hidden.isEmpty()) {
      throw new ConfigException(
          "%s: has no list of weights named hidden; write %s".formatted(place, GATE_FORM));
    }
    float[] weights = new float[hidden.size()];
    for (int i = 0; i < weights.length; i++) {
      weights[i] = (float) number(hidden.get(i), place + ": hidden[" + i + "]");
    }
    return new Gate(
        number(node.path("bias"), place + ": bias"),
        number(node.path("log_odds"), place + ": log_odds"),
        number(node.path("gap"), place + ": gap"),
        weights);
  }

  private static double number(JsonNode node, String place) {
    if (!node.isNumber() || !Float.isFinite((float) node.asDouble())) {
      throw new ConfigException(
          "%s: %s; write a number of single precision"
              .formatted(
                  place, node.isMissingNode() ? "is missing" : node + " is no finite number"));
    }
    return node.asDouble();
  }

  private static SortedMap<Integer, Double> byLayer(JsonNode root, String key, Path file) {
    SortedMap<Integer, Double> numbers = new TreeMap<>();
    JsonNode byLayer = root.path(key);
    if (!byLayer.isMissingNode() && !byLayer.isObject()) {
      throw new ConfigException(
          "%s: %s: %s does not say for which layers; write {\"2\": 0.8}"
              .formatted(file, key, byLayer));
    }
    for (Map.Entry<String, JsonNode> entry : byLayer.properties()) {
      if (!entry.getKey().matches("[1-9][0-9]{0,5}") || !entry.getValue().isNumber()) {
        throw new ConfigException(
            "%s: %s: \"%s\": %s is no layer and number; write \"2\": 0.8"
                .formatted(file, key, entry.getKey(), entry.getValue()));
      }
      numbers.put(Integer.valueOf(entry.getKey()), entry.getValue().asDouble());
    }
    return numbers;
  }

  /** Writes a file, and makes the folder that it is to be in. */
  public void write(Path file) throws IOException {
    ObjectNode root = MAPPER.createObjectNode().put("policy", rule.name());
    put(root, "thresholds", thresholds);
    switch (rule) {
      case OfPolicy(PolicyName _, SortedMap<Integer, Double> temperatures) -> {
        if (!temperatures.isEmpty()) {
          put(root, "temperatures", temperatures);
        }
      }
      case OfGates(SortedMap<Integer, Gate> byLayer) -> {
        ObjectNode gates = root.putObject("gates");
        byLayer.forEach((layer, gate) -> put(gates.putObject(layer.toString()), gate));
      }
    }
    Files.createDirectories(file.toAbsolutePath().resolveSibling(""));
    Files.writeString(
        file, MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n");
  }

  private static void put(ObjectNode root, String key, SortedMap<Integer, Double> byLayer) {
    ObjectNode numbers = root.putObject(key);
    byLayer.forEach((layer, value) -> numbers.put(layer.toString(), value));
  }

  private static void put(ObjectNode node, Gate gate) {
    node.put("bias", gate.bias()).put("log_odds", gate.logOdds()).put("gap", gate.gap());
    ArrayNode hidden = node.putArray("hidden");
    for (float weight : gate.hidden()) {
      hidden.add(weight);
    }
  }
}
