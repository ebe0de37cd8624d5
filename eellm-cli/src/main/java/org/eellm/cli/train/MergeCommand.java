package org.eellm.cli.train;

import java.nio.file.Path;
import java.util.List;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.data.DatasetMerge;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm merge}: datasets of one tokenizer in, one dataset out. */
@Command(
    name = "merge",
    description = "Joins datasets that were prepared with one tokenizer, in the order given.")
public final class MergeCommand extends EellmCommand {
  @Mixin private JsonOption json;

  @Option(
      names = "--input",
      required = true,
      arity = "1..*",
      paramLabel = "PREFIX",
      description = "Paths of the datasets without their endings.")
  private List<Path> inputs;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "PREFIX",
      description = "Path of the result without its endings.")
  private Path output;

  /** The report of {@code --json}. */
  private record Result(String output, long documents, long tokens, boolean masked) {}

  @Override
  public Integer call() {
    DatasetMerge.Summary summary = DatasetMerge.run(inputs, output);
    if (json.requested()) {
      JsonOption.print(
          out(),
          new Result(output.toString(), summary.documents(), summary.tokens(), summary.isMasked()));
      return ExitCode.OK;
    }
    out().printf("written     %s.bin and .idx%s%n", output, summary.isMasked() ? " and .mask" : "");
    out().printf("documents   %,d%n", summary.documents());
    out().printf("tokens      %,d%n", summary.tokens());
    return ExitCode.OK;
  }
}
