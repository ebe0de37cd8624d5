package org.eellm.cli;

import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code eellm doctor}: what this machine has, and what is set up badly. */
@Command(
    name = "doctor",
    description = "Says what this machine has, measures it, and warns of what is set up badly.",
    mixinStandardHelpOptions = true)
final class DoctorCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private JsonOption json;

  private record Report(String eellm, String java) {}

  @Override
  public Integer call() {
    Report report = new Report(RootCommand.Version.number(), Runtime.version().toString());
    if (json.requested()) {
      JsonOption.print(spec.commandLine().getOut(), report);
    } else {
      spec.commandLine().getOut().println(report);
    }
    return ExitCode.OK;
  }
}
