package org.eellm.cli;

import com.fasterxml.jackson.annotation.JsonCreator;
import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.eellm.config.RunConfig;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.api.lowlevel.Compose;
import org.snakeyaml.engine.v2.nodes.MappingNode;
import org.snakeyaml.engine.v2.nodes.Node;
import org.snakeyaml.engine.v2.nodes.NodeTuple;
import org.snakeyaml.engine.v2.nodes.ScalarNode;

/**
 * Makes docs/configuration.md: a table for every section of {@link RunConfig}, with keys and types
 * from the records, defaults from defaults.yaml, and meanings from the records' Javadoc.
 */
final class ConfigurationPage {
  private static final String INTRODUCTION =
      """
      # Configuration

      `eellm train`, `tune` and `plan` read a YAML file. It names only the settings that differ from
      the defaults below. `--set section.key=value` changes a setting on the command line.

      ```
      ./eellm train --config sums.yaml --output runs/first \\
        --set train.steps=500 --set 'exits.layers=[1,3]'
      ```

      eellm refuses unknown keys, values that it cannot honour, and settings without effect. A run
      writes all its settings to `config.yaml` in its output folder. Steps are optimizer steps.
      Layers count from 1.

      This page is made from the source.
      """;

  private final Map<String, Map<String, String>> defaults;

  private ConfigurationPage(Map<String, Map<String, String>> defaults) {
    this.defaults = defaults;
  }

  /** The whole page. */
  static String render() throws IOException {
    ConfigurationPage page = new ConfigurationPage(defaults());
    StringBuilder text = new StringBuilder(INTRODUCTION);
    for (RecordComponent section : RunConfig.class.getRecordComponents()) {
      text.append(page.section(section));
    }
    return text.toString();
  }

  private String section(RecordComponent section) throws IOException {
    SourceComments comments = SourceComments.of(section.getType());
    StringBuilder text = new StringBuilder();
    text.append("\n## ").append(section.getName()).append("\n\n");
    text.append(comments.summary()).append("\n\n");
    text.append("key | type | default | meaning\n---|---|---|---\n");
    Map<Class<?>, String> mappings = new LinkedHashMap<>();
    for (RecordComponent component : section.getType().getRecordComponents()) {
      String key = SourceComments.snakeCase(component.getName());
      String usual =
          Objects.requireNonNull(
              Objects.requireNonNull(defaults.get(section.getName())).get(key),
              () -> "defaults.yaml has no " + section.getName() + "." + key);
      text.append(
          "`%s` | %s | `%s` | %s\n"
              .formatted(
                  key, type(component.getGenericType()), usual, meaning(component, comments)));
      element(component.getGenericType())
          .filter(inner -> inner.isRecord() || inner.isInterface())
          .ifPresent(mapping -> mappings.merge(mapping, "`" + key + "`", (a, b) -> a + ", " + b));
    }
    for (Map.Entry<Class<?>, String> mapping : mappings.entrySet()) {
      text.append(parts(mapping.getValue(), mapping.getKey()));
    }
    return text.toString();
  }

  /** The text of a component, with what its values mean. */
  private static String meaning(RecordComponent component, SourceComments comments)
      throws IOException {
    String meaning =
        comments
            .parameter(component.getName())
            .orElseThrow(
                () ->
                    new IllegalStateException(
                        "%s has no @param %s; docs/configuration.md takes its text from there"
                            .formatted(component.getDeclaringRecord(), component.getName())));
    Optional<Class<?>> values = element(component.getGenericType()).filter(Class::isEnum);
    if (values.isPresent()) {
      String each = SourceComments.of(values.get()).summary();
      return each.contains("`") ? meaning + ". " + each : meaning;
    }
    return meaning;
  }

  /** What a mapping, or a mapping in a list, is made of. */
  private static String parts(String keys, Class<?> mapping) throws IOException {
    SourceComments comments = SourceComments.of(mapping);
    StringBuilder text = new StringBuilder("\n" + keys + ": " + comments.summary() + "\n\n");
    if (mapping.isRecord()) {
      return text.append(components(mapping, comments)).toString();
    }
    for (Class<?> variant : mapping.getPermittedSubclasses()) {
      SourceComments own = SourceComments.of(variant);
      String name = variant.getSimpleName().toLowerCase(Locale.ROOT);
      text.append("- `type: ").append(name).append("`: ").append(own.summary()).append('\n');
      text.append(components(variant, own).indent(2));
    }
    return text.toString();
  }

  private static String components(Class<?> mapping, SourceComments comments) throws IOException {
    StringBuilder text = new StringBuilder();
    for (RecordComponent component : mapping.getRecordComponents()) {
      text.append(
          "- `%s` (%s): %s\n"
              .formatted(
                  SourceComments.snakeCase(component.getName()),
                  type(component.getGenericType()),
                  meaning(component, comments)));
    }
    return text.toString();
  }

  private static String type(Type type) {
    if (type instanceof ParameterizedType generic) {
      Class<?> element = (Class<?>) generic.getActualTypeArguments()[0];
      if (generic.getRawType() == Optional.class) {
        return type(element) + " or `null`";
      }
      return element.isEnum() ? "list of " + type(element) : "list of " + type(element) + "s";
    }
    Class<?> plain = (Class<?>) type;
    if (plain.isEnum()) {
      return Arrays.stream(plain.getEnumConstants())
          .map(value -> "`" + ((Enum<?>) value).name().toLowerCase(Locale.ROOT) + "`")
          .collect(Collectors.joining(", "));
    }
    if (plain == int.class || plain == long.class || plain == Integer.class) {
      return "integer";
    }
    if (plain == double.class || plain == Double.class) {
      return "number";
    }
    if (plain == boolean.class) {
      return "boolean";
    }
    if (plain == String.class) {
      return "text";
    }
    return isAlsoText(plain) ? "text or mapping" : "mapping";
  }

  /** Whether a text alone may stand for a mapping. */
  private static boolean isAlsoText(Class<?> mapping) {
    return Arrays.stream(mapping.getDeclaredMethods())
        .anyMatch(
            method ->
                method.isAnnotationPresent(JsonCreator.class)
                    && Arrays.equals(method.getParameterTypes(), new Class<?>[] {String.class}));
  }

  /** The type itself, or that of a list's elements. */
  private static Optional<Class<?>> element(Type type) {
    if (type instanceof ParameterizedType generic) {
      return generic.getRawType() instanceof Class<?> raw
              && (Collection.class.isAssignableFrom(raw))
          ? Optional.of((Class<?>) generic.getActualTypeArguments()[0])
          : Optional.empty();
    }
    return Optional.of((Class<?>) type);
  }

  /** The defaults as they are written, by section and key. */
  private static Map<String, Map<String, String>> defaults() throws IOException {
    String yaml;
    try (InputStream stream =
        Objects.requireNonNull(RunConfig.class.getResourceAsStream("defaults.yaml"))) {
      yaml = new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }
    LoadSettings settings = LoadSettings.builder().setUseMarks(true).build();
    Node root = new Compose(settings).composeString(yaml).orElseThrow();
    Map<String, Map<String, String>> defaults = new LinkedHashMap<>();
    entries(root)
        .forEach(
            section -> {
              Map<String, String> keys = new LinkedHashMap<>();
              entries(section.getValueNode())
                  .forEach(entry -> keys.put(name(entry), text(entry.getValueNode(), yaml)));
              defaults.put(name(section), keys);
            });
    return defaults;
  }

  private static Stream<NodeTuple> entries(Node node) {
    return node instanceof MappingNode mapping
        ? mapping.getValue().stream()
        : List.<NodeTuple>of().stream();
  }

  private static String name(NodeTuple entry) {
    return ((ScalarNode) entry.getKeyNode()).getValue();
  }

  private static String text(Node value, String yaml) {
    return yaml.substring(
        value.getStartMark().orElseThrow().getIndex(), value.getEndMark().orElseThrow().getIndex());
  }
}
