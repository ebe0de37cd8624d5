package org.eellm.decode.exit;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import org.eellm.config.ConfigException;

/**
 * Thresholds found for a model, as a file:
 *
 * <pre>{@code
 * {"policy": "max-probability", "thresholds": {"2": 0.83, "4": 0.91}, "temperatures": {"2": 0.6}}
 * }</pre>
 *
 * <p>Further keys are allowed and ignored: they tell people how the thresholds came about.
 *
 * @param name of the policy, which has a threshold
 * @param thresholds by the exits' layers, from 1; only these exits are asked
 * @param temperatures by layers of these exits: what the policy sees their logits divided by; an
 *     exit without one is seen as it is
 */
public record Calibration(
    PolicyName name,
    SortedMap<Integer, Double> thresholds,
    SortedMap<Integer, Double> temperatures) {
  private static final ObjectMapper MAPPER = new ObjectMapper();

  public Calibration {
    if (name.thresholdRule().isEmpty()) {
      throw new IllegalArgumentException("the policy " + name + " has no thresholds");
    }
    thresholds = Collections.unmodifiableSortedMap(new TreeMap<>(thresholds));
    temperatures = Collections.unmodifiableSortedMap(new TreeMap<>(temperatures));
  }

  /** The policy with these thresholds. */
  public ExitPolicy policy() {
    return policy(threshold -> threshold);
  }

  /** The policy with these thresholds, changed in some way. */
  public ExitPolicy policy(UnaryOperator<Threshold> change) {
    return ExitPolicies.among(
        List.copyOf(thresholds.keySet()),
        ExitPolicies.tempered(
            temperatures,
            name.thresholdRule()
                .orElseThrow()
                .policy(change.apply(Threshold.perLayer(thresholds)))));
  }

  /**
   * Reads a file.
   *
   * @throws ConfigException if it does not have this form
   * @throws IOException if it cannot be read
   */
  public static Calibration read(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      throw new ConfigException(file + " is a folder; give a file that calibrate wrote");
    }
    JsonNode root;
    try {
      root = MAPPER.readTree(Files.readString(file));
    } catch (JsonProcessingException e) {
      throw new ConfigException(
          "%s is no JSON; write {\"policy\": \"max-probability\", \"thresholds\": {\"2\": 0.8}}"
              .formatted(file));
    }
    PolicyName name = name(root.path("policy"), file);
    SortedMap<Integer, Double> thresholds = byLayer(root, "thresholds", file);
    if (thresholds.isEmpty()) {
      throw new ConfigException(
          "%s: thresholds: there are none; write one for each exit, as in {\"2\": 0.8}"
              .formatted(file));
    }
    SortedMap<Integer, Double> temperatures = byLayer(root, "temperatures", file);
    temperatures.forEach(
        (layer, value) -> {
          if (!thresholds.containsKey(layer) || !(value > 0)) {
            throw new ConfigException(
                "%s: temperatures: \"%d\": %s is no positive number for an exit with a threshold; leave it out"
                    .formatted(file, layer, value));
          }
        });
    return new Calibration(name, thresholds, temperatures);
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
                            PolicyName.withThreshold().stream()
                                .map(PolicyName::toString)
                                .collect(Collectors.joining(", ")))));
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
    ObjectNode root = MAPPER.createObjectNode().put("policy", name.toString());
    ObjectNode byLayer = root.putObject("thresholds");
    thresholds.forEach((layer, value) -> byLayer.put(layer.toString(), value));
    if (!temperatures.isEmpty()) {
      ObjectNode divisors = root.putObject("temperatures");
      temperatures.forEach((layer, value) -> divisors.put(layer.toString(), value));
    }
    Files.createDirectories(file.toAbsolutePath().resolveSibling(""));
    Files.writeString(
        file, MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n");
  }
}
