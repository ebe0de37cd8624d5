package org.eellm.cli.option;

import java.io.PrintWriter;
import org.eellm.eval.SnakeCaseJson;
import picocli.CommandLine.Option;

/**
 * The option {@code --json}, as a mixin. With it a command prints one JSON object a line with
 * snake_case keys, a record of its own, in place of its text for people.
 */
public final class JsonOption {
  @Option(names = "--json", description = "Print JSON to stdout, for tools.")
  private boolean requested;

  /** Whether the user wants JSON. */
  public boolean requested() {
    return requested;
  }

  /** Prints a record as one line of JSON, or what people read. */
  public void print(PrintWriter out, Object value, Runnable text) {
    if (requested) {
      print(out, value);
    } else {
      text.run();
    }
  }

  /** Prints a record as one line of JSON. */
  public static void print(PrintWriter out, Object value) {
    out.println(SnakeCaseJson.line(value));
  }
}
