package org.eellm.cli;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import org.eellm.EellmException;
import org.eellm.cli.generate.DecodingOptions;
import org.eellm.cli.option.PlainOutput;
import org.eellm.config.ConfigException;
import org.eellm.config.SettingException;
import org.eellm.distributed.mesh.MeshSizeException;
import org.eellm.grammar.GrammarException;
import org.eellm.tensor.TensorException;
import picocli.CommandLine;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.IExecutionExceptionHandler;
import picocli.CommandLine.IParameterExceptionHandler;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * Turns what a command throws into one line on stderr and an exit code. Exceptions of eellm's own
 * packages carry a message made for people; anything else is unexpected, which the line says. The
 * stack trace is printed only with {@code --debug}.
 */
final class CommandExceptionHandler
    implements IParameterExceptionHandler, IExecutionExceptionHandler {

  @Override
  public int handleParseException(ParameterException error, String[] args) {
    CommandLine command = error.getCommandLine();
    PrintWriter err = command.getErr();
    err.println(line(firstLine(error)));
    UnmatchedArgumentException.printSuggestions(error, err);
    err.println("Try '" + command.getCommandSpec().qualifiedName() + " --help'.");
    return ExitCode.USAGE;
  }

  @Override
  public int handleExecutionException(
      Exception error, CommandLine command, ParseResult parseResult) {
    return report(error, command);
  }

  int report(Throwable error, CommandLine command) {
    PrintWriter err = command.getErr();
    RootCommand root = (RootCommand) command.getCommandSpec().root().userObject();
    err.println(line(message(error)));
    if (root.debug()) {
      error.printStackTrace(err);
    }
    return switch (error) {
      case ConfigException _, GrammarException _, MeshSizeException _ -> ExitCode.USAGE;
      default -> ExitCode.SOFTWARE;
    };
  }

  private static String message(Throwable error) {
    if (error instanceof UncheckedIOException && error.getCause() instanceof IOException cause) {
      return message(cause);
    }
    if (error instanceof ExceptionInInitializerError
        && error.getCause() instanceof TensorException cause) {
      return message(cause); // libtorch could not be loaded
    }
    String text = firstLine(error);
    return switch (error) {
      case SettingException setting -> firstLine(setting.named(DecodingOptions::option));
      case NoSuchFileException _ -> text + ": no such file or folder";
      case AccessDeniedException _ -> text + ": permission denied";
      case FileAlreadyExistsException _ -> text + ": exists already";
      case NotDirectoryException _ -> text + ": is not a folder";
      case FileSystemException _, FileNotFoundException _ -> text;
      case OutOfMemoryError _ ->
          "out of memory: " + text + "; give Java more with EELLM_JAVA_OPTS=-Xmx8g";
      case NoClassDefFoundError _ when text.startsWith("org/bytedeco/") ->
          "this needs libtorch, which is not on the class path; add org.eellm:eellm-libtorch";
      case EellmException _ -> text;
      default ->
          "unexpected " + error.getClass().getSimpleName() + ": " + text + " (--debug shows where)";
    };
  }

  /** libtorch's messages go on for hundreds of lines of native frames; the first one says it. */
  private static String firstLine(Throwable error) {
    return String.valueOf(error.getMessage()).lines().findFirst().orElse("");
  }

  private static String line(String message) {
    return PlainOutput.escape("eellm: " + message);
  }
}
