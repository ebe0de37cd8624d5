package org.eellm.cli.option;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.EnumNamingStrategies;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.datatype.jdk8.Jdk8Module;
import java.io.PrintWriter;
import picocli.CommandLine.Option;

/**
 * The option {@code --json}, as a mixin. With it a command prints one JSON object a line with
 * snake_case keys, a record of its own, in place of its text for people.
 */
public final class JsonOption {
  private static final JsonMapper MAPPER =
      JsonMapper.builder()
          .addModule(new Jdk8Module())
          .propertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE)
          .enumNamingStrategy(EnumNamingStrategies.SNAKE_CASE)
          .build();

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
    try {
      out.println(MAPPER.writeValueAsString(value));
      out.flush();
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("cannot be written as JSON: " + value, e);
    }
  }
}
