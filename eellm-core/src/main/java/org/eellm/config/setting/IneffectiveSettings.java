package org.eellm.config.setting;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Optional;
import java.util.function.Predicate;
import org.eellm.config.ConfigException;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * Refuses settings that the others leave without effect, as {@link NoEffectWith} says of them. A
 * value that equals the default is let pass: a resolved configuration has all keys.
 */
public final class IneffectiveSettings {
  private IneffectiveSettings() {}

  /**
   * A setting that has no effect.
   *
   * @param choice that leaves it without
   */
  public record Ineffective(String key, String value, Choice choice, String usual) {

    /**
     * The exception that refuses it.
     *
     * @param place where it was set, with a colon and a space, or empty
     */
    public ConfigException refusal(String place) {
      return new ConfigException(
          "%s%s: %s has no effect with %s; remove it, or leave it at its default %s"
              .formatted(place, key, value, choice, usual));
    }
  }

  /**
   * The first setting without effect, if there is one.
   *
   * @param configuration which has the settings
   * @param made whether a choice is made in it
   * @param tree of the configuration, bound and resolved
   * @param defaults the defaults, likewise
   */
  public static Optional<Ineffective> first(
      Class<? extends Record> configuration,
      Predicate<Choice> made,
      JsonNode tree,
      JsonNode defaults) {
    return Setting.all(configuration)
        .filter(setting -> setting.component().isAnnotationPresent(NoEffectWith.class))
        .flatMap(setting -> find(setting, made, tree, defaults).stream())
        .findFirst();
  }

  private static Optional<Ineffective> find(
      Setting setting, Predicate<Choice> made, JsonNode tree, JsonNode defaults) {
    String pointer = "/" + setting.name().replace('.', '/');
    JsonNode value = tree.at(pointer);
    JsonNode usual = defaults.at(pointer);
    if (value.equals(usual) || isZeros(value)) {
      return Optional.empty();
    }
    return Arrays.stream(setting.component().getAnnotation(NoEffectWith.class).value())
        .filter(made)
        .findFirst()
        .map(choice -> new Ineffective(setting.name(), text(value), choice, text(usual)));
  }

  /** Where an empty list, the default, has been filled in. */
  private static boolean isZeros(JsonNode value) {
    if (!value.isArray()) {
      return false;
    }
    for (JsonNode element : value) {
      if (element.asDouble(1) != 0) {
        return false;
      }
    }
    return true;
  }

  /** A value for people. */
  public static String text(JsonNode value) {
    return value.isTextual() ? value.textValue() : value.toString().replace("\"", "");
  }
}
