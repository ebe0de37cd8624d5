package org.eellm.cli.option;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.eellm.config.ConfigException;
import org.eellm.config.yaml.StrictYaml;
import org.jspecify.annotations.Nullable;
import picocli.CommandLine;
import picocli.CommandLine.IDefaultValueProvider;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.ParameterException;

/**
 * The options of a command in a YAML file, by their names without dashes, as in {@code port: 8000}.
 * What the command line says overrules them.
 */
public final class OptionsFile implements IDefaultValueProvider {
  /** The option that names the file. */
  public static final String OPTION = "--config";

  private static final String DASHES = "--";

  /** By option; empty until the command asks, so that what is wrong is said as of other options. */
  private final Map<String, String> values = new HashMap<>();

  private final Path file;

  private OptionsFile(Path file) {
    this.file = file;
  }

  /** Gives a command the options of the file that its arguments name, if they name one. */
  public static void read(CommandLine command, List<String> arguments) {
    for (int at = 0; at < arguments.size(); at++) {
      String argument = arguments.get(at);
      if (argument.startsWith(OPTION + "=")) {
        use(command, argument.substring(OPTION.length() + 1));
      } else if (argument.equals(OPTION) && at + 1 < arguments.size()) {
        use(command, arguments.get(at + 1));
      }
    }
  }

  private static void use(CommandLine command, String file) {
    command.setDefaultValueProvider(new OptionsFile(Path.of(file)));
  }

  @Override
  public @Nullable String defaultValue(ArgSpec argument) {
    CommandLine command = argument.command().commandLine();
    if (!(argument instanceof OptionSpec option)) {
      return null;
    }
    try {
      if (values.isEmpty()) {
        values.putAll(valuesFor(command));
      }
    } catch (ConfigException e) {
      throw new ParameterException(command, e.getMessage(), e);
    }
    return values.get(option.longestName());
  }

  private Map<String, String> valuesFor(CommandLine command) {
    Map<String, String> places = new HashMap<>();
    ObjectNode tree =
        StrictYaml.mapping(
            StrictYaml.textOf(file),
            file.toString(),
            "option without its dashes, as in port: 8000",
            places);
    Map<String, String> found = new HashMap<>();
    for (Map.Entry<String, JsonNode> entry : tree.properties()) {
      String name = entry.getKey();
      String place = places.getOrDefault(name, file.toString());
      OptionSpec option = command.getCommandSpec().findOption(DASHES + name);
      if (option == null || option.usageHelp() || option.versionHelp() || isThis(option)) {
        throw new ConfigException(
            "%s: %s: is no option that a file can give; %s --help lists them"
                .formatted(place, name, command.getCommandSpec().qualifiedName()));
      }
      found.put(option.longestName(), text(place + ": " + name, entry.getValue(), option));
    }
    return found;
  }

  private static boolean isThis(OptionSpec option) {
    return option.longestName().equals(OPTION);
  }

  private static String text(String what, JsonNode value, OptionSpec option) {
    List<String> texts = new ArrayList<>();
    if (value.isArray()) {
      value.forEach(each -> texts.add(each.asText()));
    } else {
      texts.add(value.asText());
    }
    String separator = option.splitRegex();
    if (value.isNull() || value.isObject() || texts.isEmpty()) {
      throw new ConfigException(what + ": has no value; give one, or leave the line out");
    }
    if (texts.size() > 1 && separator.isEmpty()) {
      throw new ConfigException(
          "%s: has %d values, and a file can give one; give them on the command line"
              .formatted(what, texts.size()));
    }
    return String.join(separator, texts);
  }
}
