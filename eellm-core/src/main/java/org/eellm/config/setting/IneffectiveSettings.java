package org.eellm.config.setting;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Map;
import org.eellm.config.ConfigException;
import org.eellm.config.RunConfig;
import org.eellm.config.setting.NoEffectWith.Choice;

/**
 * Refuses settings that the others leave without effect, as {@link NoEffectWith} says of them. A
 * value that equals the default is let pass: a resolved configuration has all keys.
 */
public final class IneffectiveSettings {
  private IneffectiveSettings() {}

  /**
   * Checks a configuration.
   *
   * @param tree of the configuration, bound and resolved
   * @param defaults the defaults, likewise
   * @param places where each key was set
   * @throws ConfigException if a setting has no effect
   */
  public static void check(
      RunConfig config, JsonNode tree, JsonNode defaults, Map<String, String> places) {
    Setting.all()
        .filter(setting -> setting.component().isAnnotationPresent(NoEffectWith.class))
        .forEach(setting -> check(setting, config, tree, defaults, places));
  }

  private static void check(
      Setting setting,
      RunConfig config,
      JsonNode tree,
      JsonNode defaults,
      Map<String, String> places) {
    String key = setting.name();
    String pointer = "/" + key.replace('.', '/');
    JsonNode value = tree.at(pointer);
    JsonNode usual = defaults.at(pointer);
    if (value.equals(usual) || isZeros(value)) {
      return;
    }
    for (Choice choice : setting.component().getAnnotation(NoEffectWith.class).value()) {
      if (choice.isMadeIn(config)) {
        String place = places.containsKey(key) ? places.get(key) + ": " : "";
        throw new ConfigException(
            "%s%s: %s has no effect with %s; remove it, or leave it at its default %s"
                .formatted(place, key, text(value), choice, text(usual)));
      }
    }
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
