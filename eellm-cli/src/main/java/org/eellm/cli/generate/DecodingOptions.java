package org.eellm.cli.generate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import org.eellm.cli.option.GivenValues;
import org.eellm.config.ConfigException;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSetting.Kind;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.DecodingSettings.ThresholdSetting;
import org.eellm.decode.request.Limits;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Spec;

/** How tokens are decoded, as a mixin. What has no effect in the mode is refused. */
@Command
public final class DecodingOptions {
  private final GivenValues<DecodingSetting<?>> given = new GivenValues<>();
  private CommandSpec spec = CommandSpec.create(); // until it is known whose options these are

  /** Gives a command an option for each line of the table. */
  @Spec(Spec.Target.MIXEE)
  void addTo(CommandSpec command) {
    spec = command;
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      command.addOption(described(setting).build());
    }
  }

  private OptionSpec.Builder described(DecodingSetting<?> setting) {
    OptionSpec.Builder option =
        given
            .option(setting, option(setting.name()))
            .paramLabel(setting.label())
            .description(setting.description());
    return switch (setting.kind()) {
      case Kind.Layers _ -> option.type(List.class).auxiliaryTypes(Integer.class).splitRegex(",");
      case Kind.Thresholds _ -> option.type(String.class);
      case Kind.CalibrationFile _ -> option.type(Path.class);
      case Kind.Choice _, Kind.WholeNumber _, Kind.RealNumber _ ->
          option.type(setting.kind().type());
    };
  }

  /** The first of these options that was given. */
  public Optional<String> given() {
    return DecodingSetting.all().stream()
        .filter(setting -> given.get(setting).filter(value -> !value.equals(List.of())).isPresent())
        .findFirst()
        .map(setting -> option(setting.name()));
  }

  /**
   * The decoding for a model.
   *
   * @param maxTokens most tokens of the text
   * @throws ConfigException if an option has no effect, or the mode is not for the model
   */
  DecodingMethod decoding(LoadedModel model, int maxTokens) {
    return settings(model)
        .decoding(model.architecture().exits().layers(), maxTokens, DecodingOptions::option);
  }

  /**
   * Says what is wrong with these options before there is a text to decode, and what they come to.
   *
   * @throws ConfigException as {@link #decoding}
   */
  public void require(LoadedModel model, int maxTokens) {
    DecodingMethod decoding = decoding(model, maxTokens);
    decoding.heads(model.decoder().allHeads());
    Gate.requireModel(decoding.gates(), model.decoder(), model.vocabulary());
    tellCalibration(model);
  }

  /** Tells if it is the model's own calibration that decides. */
  void tellCalibration(LoadedModel model) {
    if (!settings(model).equals(settings())) {
      spec.commandLine()
          .getErr()
          .printf("tokens leave as %s says; --threshold overrules it%n", model.calibrationFile());
    }
  }

  /** A setting's option on the command line. */
  public static String option(String setting) {
    return "--" + setting;
  }

  /** The settings that were given. */
  public DecodingSettings settings() {
    DecodingSettings settings = DecodingSettings.NONE;
    for (DecodingSetting<?> setting : DecodingSetting.all()) {
      Optional<Object> read = given.get(setting);
      if (read.isPresent()) {
        settings = settings.withValue(setting, value(setting, read.get()));
      }
    }
    return settings;
  }

  private static Object value(DecodingSetting<?> setting, Object read) {
    return switch (setting.kind()) {
      case Kind.Thresholds _ -> setting((String) read);
      case Kind.CalibrationFile _ -> read((Path) read);
      default -> read;
    };
  }

  /** The settings that result for a model, which may have a calibration of its own. */
  public DecodingSettings settings(LoadedModel model) {
    return model.settings(settings());
  }

  public int maxPending() {
    return (int) given.get(DecodingSetting.MAX_PENDING).orElse(Limits.MAX_PENDING);
  }

  private static Calibration read(Path file) {
    try {
      return Calibration.read(file);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static ThresholdSetting setting(String text) {
    if (!text.contains("=")) {
      return new ThresholdSetting.Same(number(text, text));
    }
    SortedMap<Integer, Double> byLayer = new TreeMap<>();
    for (String pair : text.split(",", -1)) {
      int equals = pair.indexOf('=');
      String layer = pair.substring(0, Math.max(0, equals)).strip();
      if (!layer.matches("[0-9]{1,6}")) {
        throw noNumbers(text);
      }
      byLayer.put(Integer.valueOf(layer), number(pair.substring(equals + 1), text));
    }
    return new ThresholdSetting.PerLayer(byLayer);
  }

  private static double number(String number, String text) {
    try {
      double value = Double.parseDouble(number);
      if (Double.isFinite(value)) {
        return value;
      }
    } catch (NumberFormatException expected) {
      // said below, for numbers that are not finite alike
    }
    throw noNumbers(text);
  }

  private static ConfigException noNumbers(String text) {
    return new ConfigException(
        "--threshold: '%s' is no number or list of them; write 0.9, or 2=0.8,4=0.9"
            .formatted(text));
  }
}
