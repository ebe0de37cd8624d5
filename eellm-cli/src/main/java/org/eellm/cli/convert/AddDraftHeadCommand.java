package org.eellm.cli.convert;

import java.io.IOException;
import java.nio.file.Path;
import org.eellm.checkpoint.DraftHeadFiles;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.option.EellmCommand;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/** {@code eellm add-draft-head}: what {@code eellm tune} has made goes beside its model. */
@Command(
    name = "add-draft-head",
    description =
        "Puts a draft head, which eellm tune makes with tune.target: draft_head, into its model's"
            + " folder: a drafter for generate, chat and serve; docs/drafts.md says more.")
public final class AddDraftHeadCommand extends EellmCommand {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "PATH",
      description = "Model folder, or output folder of a run, whose newest checkpoint gets it.")
  private Path model;

  @Option(
      names = "--draft-head",
      required = true,
      paramLabel = "DIR",
      description = "Output folder of eellm tune, or a folder of its checkpoints.")
  private Path head;

  @Override
  public Integer call() throws IOException {
    Path folder = DraftHeadFiles.put(ModelFolder.resolve(model), head);
    out().printf("a draft head, written to %s%n", folder);
    return ExitCode.OK;
  }
}
