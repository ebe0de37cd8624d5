package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.eellm.distributed.launch.LocalLauncher;
import org.eellm.kernel.row.RowKernel;

/** Runs commands, within this process or as one. */
public final class Commands {
  private Commands() {}

  /** A command's exit code and what it printed. */
  public record Outcome(int code, String out, String err) {
    /** What it printed, if it went well. */
    String printed() {
      assertThat(code).as(err).isZero();
      return out;
    }
  }

  public static Outcome run(String... args) {
    StringWriter out = new StringWriter();
    StringWriter err = new StringWriter();
    return new Outcome(run(out, err, args), out.toString(), err.toString());
  }

  /** The exit code; what is printed goes to the writers, behind what they have. */
  public static int run(StringWriter out, StringWriter err, String... args) {
    return Main.run(
        RootCommand.commandLine()
            .setOut(new PrintWriter(out, true))
            .setErr(new PrintWriter(err, true)),
        args);
  }

  /**
   * Runs a command that starts ranks of its own as a process: they have its options, and are ready
   * sooner with Java's first compiler alone.
   */
  public static Outcome runAsProcess(Path folder, List<String> arguments) throws IOException {
    List<String> command = LocalLauncher.sameProgram(Main.class.getName(), arguments, 1);
    if (RowKernel.isMachineCode()) { // else the second compiler is needed
      command.add(1, "-XX:TieredStopAtLevel=1");
    }
    Path out = folder.resolve("ranks.out");
    Path err = folder.resolve("ranks.err");
    Process process =
        new ProcessBuilder(command)
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    try {
      int code = process.waitFor();
      return new Outcome(code, Files.readString(out), Files.readString(err));
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    } finally {
      process.descendants().forEach(ProcessHandle::destroyForcibly);
      process.destroyForcibly();
    }
  }

  /** With the words of {@code command}, then the other arguments as they are. */
  static Outcome runWords(String command, Object... arguments) {
    List<String> all = new ArrayList<>(List.of(command.split(" ")));
    Stream.of(arguments).map(Object::toString).forEach(all::add);
    return run(all.toArray(String[]::new));
  }

  /** What a command prints that goes well, see {@link #runWords}. */
  static String print(String command, Object... arguments) {
    return runWords(command, arguments).printed();
  }

  /** The same of a command that prints JSON. */
  static JsonNode json(String command, Object... arguments) {
    String text = print(command, arguments);
    try {
      return new ObjectMapper().readTree(text);
    } catch (IOException e) {
      throw new AssertionError(text, e);
    }
  }
}
