package org.eellm.config.setting;

import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.stream.Stream;

/**
 * A component of a configuration's records.
 *
 * @param name dotted, as in {@code --set}
 */
public record Setting(String name, RecordComponent component) {

  /** The components of a record under a name, without those of records in them. */
  public static Stream<Setting> of(Class<?> type, String name) {
    return Arrays.stream(type.getRecordComponents())
        .map(
            component ->
                new Setting(
                    (name.isEmpty() ? "" : name + ".") + snakeCase(component.getName()),
                    component));
  }

  /** All settings of a configuration, in the order of its sections, with those of mappings. */
  public static Stream<Setting> all(Class<? extends Record> configuration) {
    return within(configuration, "");
  }

  private static Stream<Setting> within(Class<?> type, String name) {
    return of(type, name)
        .flatMap(
            setting -> {
              Class<?> inner = setting.component.getType();
              return Stream.concat(
                  Stream.of(setting),
                  inner.isRecord() ? within(inner, setting.name) : Stream.empty());
            });
  }

  /** Its value in the record that it is a component of. */
  public Object valueIn(Object owner) {
    try {
      return component.getAccessor().invoke(owner);
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("a public record's accessor cannot be called", e);
    }
  }

  private static String snakeCase(String camelCase) {
    StringBuilder snake = new StringBuilder();
    for (char letter : camelCase.toCharArray()) {
      snake.append(Character.isUpperCase(letter) ? "_" : "").append(Character.toLowerCase(letter));
    }
    return snake.toString();
  }
}
