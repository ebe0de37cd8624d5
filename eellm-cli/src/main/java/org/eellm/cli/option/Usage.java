package org.eellm.cli.option;

import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;

/** Refuses wrong use of a command, with a hint at its help. */
public final class Usage {
  private Usage() {}

  /** Throws the message, with values put in, unless a condition holds. */
  public static void require(
      CommandSpec spec, boolean condition, String message, Object... values) {
    if (!condition) {
      throw new ParameterException(spec.commandLine(), message.formatted(values));
    }
  }

  public static void requireAtLeast(CommandSpec spec, int least, int value, String option) {
    require(spec, value >= least, "%s: %d is below %d; use %3$d or more", option, value, least);
  }
}
