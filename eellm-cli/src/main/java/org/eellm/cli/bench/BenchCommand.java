package org.eellm.cli.bench;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code eellm bench}: how fast this machine trains and decodes, beside what it can do at best, and
 * what a server bears.
 */
@Command(
    name = "bench",
    description =
        "Measure training and decoding beside what the machine can do at best, and load a"
            + " server.",
    subcommands = {
      BenchTrainCommand.class,
      BenchTuneCommand.class,
      BenchDecodeCommand.class,
      BenchPromptCommand.class,
      BenchServeCommand.class
    })
public final class BenchCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    throw new ParameterException(
        spec.commandLine(), "say what to measure: train, tune, decode, prompt or serve");
  }
}
