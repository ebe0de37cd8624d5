package org.eellm.config.setting;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/**
 * Copies of public records in which a few components differ: Java has no expression for that, and
 * records of settings have many components. Only records themselves name components to this.
 */
public final class RecordCopy {
  private RecordCopy() {}

  /** A copy with another value of one component. */
  public static <R extends Record> R with(R record, String component, Object value) {
    return with(record, Map.of(component, value));
  }

  /**
   * A copy with other values, by component; its constructor checks them as it checks any others.
   */
  @SuppressWarnings("unchecked") // a record's own class
  public static <R extends Record> R with(R record, Map<String, Object> others) {
    Map<String, Object> values = values(record);
    values.putAll(others);
    return make((Class<R>) record.getClass(), values);
  }

  /** The values of all components, by their names. */
  public static Map<String, Object> values(Record record) {
    Map<String, Object> values = new LinkedHashMap<>();
    Setting.of(record.getClass(), "")
        .forEach(setting -> values.put(setting.component().getName(), setting.valueIn(record)));
    return values;
  }

  /**
   * A record of values by component.
   *
   * @throws IllegalArgumentException if there are others than its components
   */
  public static <R extends Record> R make(Class<R> type, Map<String, Object> values) {
    RecordComponent[] components = type.getRecordComponents();
    if (values.size() != components.length) {
      throw new IllegalArgumentException(type + " has not the components " + values.keySet());
    }
    Object[] ordered =
        Arrays.stream(components)
            .map(RecordComponent::getName)
            .map(name -> Objects.requireNonNull(values.get(name), name))
            .toArray();
    try {
      return type.getConstructor(
              Arrays.stream(components).map(RecordComponent::getType).toArray(Class[]::new))
          .newInstance(ordered);
    } catch (InvocationTargetException e) {
      throw e.getCause() instanceof RuntimeException refusal
          ? refusal
          : new IllegalStateException(e.getCause());
    } catch (ReflectiveOperationException e) {
      throw new IllegalStateException("a public record's constructor cannot be called", e);
    }
  }
}
