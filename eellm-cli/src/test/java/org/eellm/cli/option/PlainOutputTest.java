package org.eellm.cli.option;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;

final class PlainOutputTest {
  private final StringWriter terminal = new StringWriter();
  private final PrintWriter out = new PlainOutput(new PrintWriter(terminal));

  @Test
  void print_commandsToTheTerminal_areEscaped() {
    out.print("a\u001b[2J\tb\nc\u0007");
    out.printf("%s%c", "\u009b31m", '\r');
    out.println("\u202Ename\u2066");
    assertThat(terminal)
        .hasToString("a\\u001b[2J\tb\nc\\u0007\\u009b31m\\u000d\\u202ename\\u2066\n");
  }

  @Test
  void raw_isTheStreamItself() {
    PlainOutput.raw(out).print("\u001b[31m");
    PlainOutput.raw(PlainOutput.raw(out)).print("red 🦙");
    assertThat(terminal).hasToString("\u001b[31mred 🦙");
  }
}
