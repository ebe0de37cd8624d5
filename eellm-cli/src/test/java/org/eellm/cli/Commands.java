package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/** Runs commands within this process. */
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
