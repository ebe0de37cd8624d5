package org.eellm.cli.option;

import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** A command: where it prints, and what picocli knows of it. */
public abstract class EellmCommand implements Callable<Integer> {
  @Spec protected CommandSpec spec;

  /** For what the command is asked for; each line's end flushes it. */
  protected PrintWriter out() {
    return spec.commandLine().getOut();
  }

  /** For what people read beside it, likewise. */
  protected PrintWriter err() {
    return spec.commandLine().getErr();
  }
}
