package org.eellm.cli;

import java.util.List;
import org.eellm.cli.option.BackgroundWarmUp;
import org.eellm.cli.option.OptionsFile;
import picocli.CommandLine;

/** The {@code eellm} program. */
public final class Main {
  private Main() {}

  /** Runs a command and ends the process with its exit code; see {@link RootCommand}. */
  public static void main(String[] args) {
    ConsoleLog.choose();
    BackgroundWarmUp.start(args);
    System.exit(run(RootCommand.commandLine(args), args));
  }

  /** Runs a command; whatever it throws becomes a line on stderr and an exit code. */
  public static int run(CommandLine commandLine, String... args) {
    try {
      CommandLine serve = commandLine.getSubcommands().get("serve");
      if (serve != null) {
        OptionsFile.read(serve, List.of(args));
      }
      return commandLine.execute(args);
    } catch (Error error) { // picocli hands exceptions to CommandExceptionHandler, but lets errors
      // through.
      return new CommandExceptionHandler().report(error, commandLine);
    }
  }
}
