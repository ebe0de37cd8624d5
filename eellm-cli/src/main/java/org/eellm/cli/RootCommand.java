package org.eellm.cli;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Properties;
import java.util.SequencedMap;
import java.util.Set;
import java.util.function.Supplier;
import org.eellm.cli.bench.BenchCommand;
import org.eellm.cli.convert.AddDraftHeadCommand;
import org.eellm.cli.convert.AddExitsCommand;
import org.eellm.cli.convert.ConvertCommand;
import org.eellm.cli.convert.ExportCommand;
import org.eellm.cli.convert.InspectCommand;
import org.eellm.cli.eval.CalibrateCommand;
import org.eellm.cli.eval.DraftTableCommand;
import org.eellm.cli.eval.EvalCommand;
import org.eellm.cli.eval.LensCommand;
import org.eellm.cli.eval.StatesCommand;
import org.eellm.cli.eval.SuitabilityCommand;
import org.eellm.cli.eval.SweepCommand;
import org.eellm.cli.generate.ChatCommand;
import org.eellm.cli.generate.GenerateCommand;
import org.eellm.cli.generate.ServeCommand;
import org.eellm.cli.option.PlainOutput;
import org.eellm.cli.plan.PlanCommand;
import org.eellm.cli.plan.ScheduleCommand;
import org.eellm.cli.train.CompareCommand;
import org.eellm.cli.train.MergeCommand;
import org.eellm.cli.train.PrepareCommand;
import org.eellm.cli.train.TrainCommand;
import org.eellm.cli.train.TuneCommand;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.RunLast;
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
    footer = {"", "Exit codes: 0 done, 1 failed, 2 wrong use."})
public final class RootCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Option(
      names = "--debug",
      scope = ScopeType.INHERIT,
      description = "Show the stack trace of an error. The variable EELLM_DEBUG does the same.")
  private boolean debug = System.getenv("EELLM_DEBUG") != null;

  /** Options that ask for no command in particular. */
  private static final Set<String> OF_ALL = Set.of("--help", "-h", "--version", "-V");

  private static SequencedMap<String, Supplier<Object>> commands() {
    SequencedMap<String, Supplier<Object>> all = new LinkedHashMap<>();
    all.put("add-draft-head", AddDraftHeadCommand::new);
    all.put("add-exits", AddExitsCommand::new);
    all.put("bench", BenchCommand::new);
    all.put("calibrate", CalibrateCommand::new);
    all.put("chat", ChatCommand::new);
    all.put("compare", CompareCommand::new);
    all.put("convert", ConvertCommand::new);
    all.put("doctor", DoctorCommand::new);
    all.put("draft-table", DraftTableCommand::new);
    all.put("eval", EvalCommand::new);
    all.put("export", ExportCommand::new);
    all.put("generate", GenerateCommand::new);
    all.put("inspect", InspectCommand::new);
    all.put("lens", LensCommand::new);
    all.put("plan", PlanCommand::new);
    all.put("prepare", PrepareCommand::new);
    all.put("merge", MergeCommand::new);
    all.put("quickstart", QuickstartCommand::new);
    all.put("ranks", RanksCommand::new);
    all.put("schedule", ScheduleCommand::new);
    all.put("serve", ServeCommand::new);
    all.put("states", StatesCommand::new);
    all.put("suitability", SuitabilityCommand::new);
    all.put("sweep", SweepCommand::new);
    all.put("train", TrainCommand::new);
    all.put("tune", TuneCommand::new);
    return all;
  }

  /** All commands, with {@link CommandExceptionHandler} to report what they throw. */
  public static CommandLine commandLine() {
    return commandLine(commands());
  }

  /** The command that some arguments begin with; all, if they begin with none. */
  public static CommandLine commandLine(String... arguments) {
    SequencedMap<String, Supplier<Object>> commands = commands();
    if (arguments.length == 1 && OF_ALL.contains(arguments[0])) {
      commands.replaceAll((name, command) -> () -> described(command.get()));
    }
    if (arguments.length > 0 && commands.containsKey(arguments[0])) {
      commands.keySet().retainAll(Set.of(arguments[0])); // to look at all takes a moment
    }
    return commandLine(commands);
  }

  /** A command as the list of all shows it; to look at what each can do takes half a second. */
  private static CommandSpec described(Object command) {
    CommandSpec spec = CommandSpec.create();
    spec.usageMessage().description(command.getClass().getAnnotation(Command.class).description());
    return spec;
  }

  private static CommandLine commandLine(SequencedMap<String, Supplier<Object>> commands) {
    CommandExceptionHandler failures = new CommandExceptionHandler();
    CommandLine commandLine = new CommandLine(new RootCommand());
    commands.forEach((name, command) -> commandLine.addSubcommand(name, command.get()));
    return commandLine
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setUsageHelpAutoWidth(true)
        .setResourceBundle(new PolicyTexts())
        .registerConverter(Path.class, RootCommand::path)
        .setExecutionStrategy(RootCommand::execute)
        .setParameterExceptionHandler(failures)
        .setExecutionExceptionHandler(failures);
  }

  private static int execute(ParseResult parsed) {
    Integer helped = CommandLine.executeHelpRequest(parsed);
    if (helped != null) {
      return helped; // with picocli's own colours
    }
    CommandLine root = parsed.commandSpec().commandLine();
    root.setOut(new PlainOutput(root.getOut())).setErr(new PlainOutput(root.getErr()));
    return new RunLast().execute(parsed);
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

  public static final class Version implements IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"eellm " + number()};
    }

    /** The version Maven built. */
    public static String number() {
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
