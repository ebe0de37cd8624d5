package org.eellm.train;

import java.lang.reflect.RecordComponent;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.eellm.config.RunConfig;

/** Where two configurations differ, by the settings' names. */
final class ConfigDifferences {
  private ConfigDifferences() {}

  /**
   * One setting.
   *
   * @param name dotted, as in {@code --set}
   */
  record Difference(String name, Object first, Object second) {}

  /** All differences, in the order of the configuration's sections. */
  static List<Difference> between(RunConfig first, RunConfig second) {
    List<Difference> differences = new ArrayList<>();
    compare("", first, second, differences);
    return differences;
  }

  private static void compare(
      String name, Object first, Object second, List<Difference> differences) {
    if (first instanceof Record && first.getClass() == second.getClass()) {
      for (RecordComponent component : first.getClass().getRecordComponents()) {
        compare(
            (name.isEmpty() ? "" : name + ".") + snakeCase(component.getName()),
            value(component, first),
            value(component, second),
            differences);
      }
    } else if (!first.equals(second)) {
      differences.add(new Difference(name, first, second));
    }
  }

  private static Object value(RecordComponent component, Object owner) {
    try {
      return component.getAccessor().invoke(owner);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("a public record's accessor cannot be called", e);
    }
  }

  private static String snakeCase(String camelCase) {
    return camelCase.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }
}
