package org.eellm.config.yaml;

import java.util.ArrayList;
import java.util.List;
import org.eellm.config.setting.IneffectiveSettings;
import org.eellm.config.setting.MayChangeOnResume;
import org.eellm.config.setting.Setting;

/** Where two configurations differ, by the settings' names. */
public final class ConfigDifferences {
  private ConfigDifferences() {}

  /**
   * One setting.
   *
   * @param name dotted, as in {@code --set}
   * @param mayChange whether a run that goes on may do so with another value
   */
  public record Difference(String name, String first, String second, boolean mayChange) {}

  /** All differences, in the order of the configuration's sections. */
  public static List<Difference> between(Record first, Record second) {
    List<Difference> differences = new ArrayList<>();
    compare("", first, second, differences);
    return differences;
  }

  private static void compare(
      String name, Record first, Record second, List<Difference> differences) {
    Setting.of(first.getClass(), name)
        .forEach(
            setting -> {
              Object before = setting.valueIn(first);
              Object after = setting.valueIn(second);
              if (before instanceof Record outer
                  && after instanceof Record other
                  && outer.getClass() == other.getClass()) {
                compare(setting.name(), outer, other, differences);
              } else if (!before.equals(after)) {
                differences.add(
                    new Difference(
                        setting.name(),
                        IneffectiveSettings.text(StrictYaml.tree(before)),
                        IneffectiveSettings.text(StrictYaml.tree(after)),
                        setting.component().isAnnotationPresent(MayChangeOnResume.class)));
              }
            });
  }
}
