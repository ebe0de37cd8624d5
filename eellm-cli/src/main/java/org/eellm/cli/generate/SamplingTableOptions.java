package org.eellm.cli.generate;

import java.util.EnumMap;
import java.util.Map;
import org.eellm.cli.option.GivenValues;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.sample.SamplingSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** An option for each line of the table of how tokens are drawn, as a mixin. */
@Command
final class SamplingTableOptions {
  private final GivenValues<SamplingSetting> given = new GivenValues<>();

  @Spec(Spec.Target.MIXEE)
  void addTo(CommandSpec command) {
    for (SamplingSetting setting : SamplingSetting.values()) {
      command.addOption(
          given
              .option(setting, "--" + setting)
              .paramLabel(setting.label())
              .description(setting.description())
              .type(setting.range().whole() ? Integer.class : Double.class)
              .build());
    }
  }

  /** The values that are given. */
  Map<SamplingSetting, Double> given() {
    Map<SamplingSetting, Double> values = new EnumMap<>(SamplingSetting.class);
    for (SamplingSetting setting : SamplingSetting.values()) {
      given.get(setting).ifPresent(value -> values.put(setting, ((Number) value).doubleValue()));
    }
    return values;
  }

  /** The values that are given, and a model's own of the others. */
  SamplingDefaults over(SamplingDefaults defaults) {
    Map<SamplingSetting, Double> values = new EnumMap<>(SamplingSetting.class);
    values.putAll(defaults.values());
    values.putAll(given());
    return new SamplingDefaults(values);
  }
}
