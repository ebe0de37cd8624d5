package org.eellm.cli.eval;

import java.io.IOException;
import java.nio.file.Path;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.option.EellmCommand;
import org.eellm.config.ConfigException;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.speculate.DraftTables;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Option;

/** {@code eellm draft-table}: drafts for a model, with exits or without, from counted text. */
@Command(
    name = "draft-table",
    description =
        "Counts what mostly follows two tokens in a dataset, and stores it in the model's folder:"
            + " drafts that need no exits, for generate, chat and serve; docs/drafts.md says"
            + " more.")
public final class DraftTableCommand extends EellmCommand {
  @Option(
      names = "--model",
      required = true,
      paramLabel = "PATH",
      description = "Model folder, or output folder of a run, whose newest checkpoint gets it.")
  private Path model;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "PREFIX",
      description =
          "Dataset of prepare with the model's tokenizer, without .bin and .idx: text like that"
              + " which the model writes.")
  private Path data;

  @Option(
      names = "--pairs",
      paramLabel = "N",
      description = "Pairs of tokens at most, the most frequent; 65536 by default.")
  private int pairs = DraftTable.PAIRS;

  @Override
  public Integer call() throws IOException {
    if (pairs < 1 || pairs > DraftTable.MOST_PAIRS) {
      throw new ConfigException(
          "--pairs: %d is outside 1..%d; use a number of it"
              .formatted(pairs, DraftTable.MOST_PAIRS));
    }
    Path folder = ModelFolder.resolve(model).folder();
    DraftTable table = DraftTables.count(data, Tokenizer.load(folder).vocabSize(), pairs);
    table.write(folder);
    out().printf("%,d pairs of tokens, written to %s%n", table.size(), folder);
    return ExitCode.OK;
  }
}
