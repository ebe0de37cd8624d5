package org.eellm.cli.train;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.OutputPath;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code eellm compare}: the evaluations of several runs side by side. */
@Command(
    name = "compare",
    description = {
      "Shows the validation losses of several runs side by side, as a table in Markdown, and how"
          + " often each exit predicts the final head's token.",
      "Runs of one name, apart from -seed1, -seed2 and so on, are one row with a standard error."
    })
public final class CompareCommand extends EellmCommand {
  @Mixin private JsonOption json;

  @Parameters(
      arity = "1..*",
      paramLabel = "RUN",
      description = "Outputs of eellm train; the others are compared with the first.")
  private List<Path> runs;

  @Option(
      names = "--output",
      paramLabel = "FILE",
      description = "A picture of the final head's loss over the steps, as PNG.")
  private Optional<Path> output;

  @Override
  public Integer call() {
    output.ifPresent(file -> OutputPath.requireFile("--output", file));
    RunComparison comparison = RunComparison.of(runs);
    output.ifPresent(comparison::draw);
    json.print(out(), comparison, () -> out().print(comparison.table()));
    out().flush();
    return ExitCode.OK;
  }
}
