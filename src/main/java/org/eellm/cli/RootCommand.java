package org.eellm.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.Properties;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;
import picocli.CommandLine.TypeConversionException;

/**
 * The commands.
 *
 * <p>They all keep to this: what a command is asked for goes to stdout, and nothing else does;
 * logs, progress and errors go to stderr. Exit codes are 0 (done), 1 (failed) and 2 (wrong use).
 */
@Command(
    name = "eellm",
    description = "Trains early-exit language models and generates text with them.",
    synopsisSubcommandLabel = "COMMAND",
    versionProvider = RootCommand.Version.class,
    scope = ScopeType.INHERIT, // Every command has --help and --version.
    mixinStandardHelpOptions = true,
    footer = {"", "Exit codes: 0 done, 1 failed, 2 wrong use."},
    subcommands = {
      AddExitsCommand.class,
      BenchCommand.class,
      CalibrateCommand.class,
      ChatCommand.class,
      ConvertCommand.class,
      DoctorCommand.class,
      EvalCommand.class,
      ExportCommand.class,
      GenerateCommand.class,
      InspectCommand.class,
      PlanCommand.class,
      PrepareCommand.class,
      QuickstartCommand.class,
      RanksCommand.class,
      ScheduleCommand.class,
      ServeCommand.class,
      SuitabilityCommand.class,
      SweepCommand.class,
      TrainCommand.class,
      TuneCommand.class,
    })
final class RootCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Show the stack trace of an error. The variable EELLM_DEBUG does the same.")
  private boolean debug = System.getenv("EELLM_DEBUG") != null;

  /** All commands, with {@link Failures} to report what they throw. */
  static CommandLine commandLine() {
    Failures failures = new Failures();
    return new CommandLine(new RootCommand())
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setUsageHelpAutoWidth(true)
        .registerConverter(Path.class, RootCommand::path)
        .setParameterExceptionHandler(failures)
        .setExecutionExceptionHandler(failures);
  }

  /** A path; an empty one, of a variable that is not set, would be the folder we are in. */
  private static Path path(String text) {
    if (text.isEmpty()) {
      throw new TypeConversionException("is empty; give a path");
    }
    return Path.of(text);
  }

  boolean debug() {
    return debug;
  }

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "a command is missing");
  }

  static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"eellm " + number()};
    }

    /** The version Maven built. */
    static String number() {
      Properties properties = new Properties();
      try (InputStream stream = RootCommand.class.getResourceAsStream("version.properties")) {
        properties.load(stream);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      return properties.getProperty("version");
    }
  }
}
