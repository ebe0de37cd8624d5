package org.eellm.cli.convert;

import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.option.JsonOption;
import org.eellm.convert.ModelWriter.Listener;
import org.eellm.convert.ModelWriter.Outcome;
import org.eellm.convert.TensorRecord;
import org.eellm.file.IoErrors;
import picocli.CommandLine.Option;

/** Where a model comes from and goes to, as a mixin of the commands that write models. */
final class WriteOptions {
  private static final long LINE_INTERVAL = 10_000_000_000L;

  @Option(
      names = "--model",
      required = true,
      paramLabel = "PATH",
      description =
          "A model folder, a checkpoint, a run's output, a Hugging Face folder with safetensors or"
              + " pytorch_model.bin, or a checkpoint of Megatron or EE-LLM.")
  private Path model;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "PATH",
      description = "What to write. It must not exist; if the command is cut off, run it again.")
  private Path output;

  @Option(
      names = "--tokenizer",
      paramLabel = "DIR",
      description = "Folder to take the tokenizer's files from; the model's own by default.")
  private Optional<Path> tokenizer = Optional.empty();

  Path model() {
    return model;
  }

  Path output() {
    return output;
  }

  Optional<Path> tokenizer() {
    return tokenizer;
  }

  /** A line every ten seconds. */
  Listener listener(PrintStream err) {
    long[] next = {System.nanoTime() + LINE_INTERVAL};
    return (bytes, total) -> {
      if (System.nanoTime() >= next[0]) {
        next[0] += LINE_INTERVAL;
        err.printf("%.0f %% of %s%n", 100.0 * bytes / Math.max(total, 1), IoErrors.bytes(total));
      }
    };
  }

  /**
   * The report of {@code --json} on what was written.
   *
   * @param copies tensors that are the very bytes of the source
   * @param notFinite values that are NaN or infinite, by tensor
   */
  record Written(String output, int tensors, int copies, long bytes, List<NotFinite> notFinite) {}

  record NotFinite(String tensor, long values) {}

  /** Says what was written, and warns of values that are no numbers and of no tokenizer. */
  void report(Outcome outcome, JsonOption json, PrintWriter out, PrintWriter err) {
    List<NotFinite> notFinite =
        outcome.tensors().stream()
            .filter(record -> record.notFinite() > 0)
            .map(record -> new NotFinite(record.name(), record.notFinite()))
            .toList();
    if (!notFinite.isEmpty()) {
      NotFinite first = notFinite.getFirst();
      err.printf(
          "warning: tensor %s holds %d values that are NaN or infinite%s%n",
          first.tensor(),
          first.values(),
          notFinite.size() > 1 ? ", and so do %d more".formatted(notFinite.size() - 1) : "");
    }
    outcome
        .tokenizerProblem()
        .ifPresent(
            problem -> {
              err.printf("warning: %s; give one that can be read with --tokenizer%n", problem);
            });
    List<TensorRecord> tensors = outcome.tensors();
    if (json.requested()) {
      JsonOption.print(
          out,
          new Written(
              output.toString(), tensors.size(), outcome.copies(), outcome.bytes(), notFinite));
    } else {
      out.printf(
          "wrote %s: %d tensors, %s; %d of them the source's very bytes, all read back and"
              + " compared%n",
          output, tensors.size(), IoErrors.bytes(outcome.bytes()), outcome.copies());
    }
  }
}
