package org.eellm.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/**
 * {@code eellm bench}: how fast this machine trains and generates, beside what it can do at best.
 */
@Command(
    name = "bench",
    description = "Measure training and generation beside what the machine can do at best.",
    subcommands = {BenchTrainCommand.class, BenchGenerateCommand.class})
final class BenchCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    throw new ParameterException(spec.commandLine(), "say what to measure: train or generate");
  }
}
