package org.eellm.cli.train;

import com.fasterxml.jackson.annotation.JsonUnwrapped;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.Usage;
import org.eellm.cli.option.WorkProgress;
import org.eellm.data.Preparation;
import org.eellm.data.Progress;
import org.eellm.data.corpus.TextCorpus;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.kernel.machine.Threads;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm prepare}: text in, an indexed dataset and its tokenizer out. */
@Command(
    name = "prepare",
    description =
        "Turns text and chats into a dataset to train on: PREFIX.bin, PREFIX.idx and"
            + " PREFIX-tokenizer/; with chats also PREFIX.mask, so that answers alone are learned."
            + " Where it was stopped before, it goes on.")
public final class PrepareCommand extends EellmCommand {
  private static final String TRAIN = "train";
  private static final int DEFAULT_VOCAB_SIZE = 8192;

  @Mixin private JsonOption json;

  @Option(
      names = "--input",
      required = true,
      arity = "1..*",
      paramLabel = "PATH",
      description =
          "Files, folders or globs of .txt, .md, .jsonl, .json and .csv, plain or with .gz, .xz or"
              + " .zst at the end, of .parquet, and of .jar with Java sources.")
  private List<String> inputs;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "PREFIX",
      description = "Path of the results without their endings.")
  private Path output;

  @Option(
      names = "--tokenizer",
      paramLabel = "PATH",
      defaultValue = TRAIN,
      description =
          "A model's folder, its tokenizer's (tokenizer.json, a file of SentencePiece or tiktoken,"
              + " or vocab.json and merges.txt), one of those files, or a GGUF file; or"
              + " '${DEFAULT-VALUE}', the default, to train one on the input.")
  private String tokenizer;

  @Option(
      names = "--vocab-size",
      paramLabel = "N",
      description =
          "Tokens of the tokenizer that is trained, from "
              + BpeTrainer.MIN_VOCAB_SIZE
              + " on; "
              + DEFAULT_VOCAB_SIZE
              + " by default.")
  private Optional<Integer> vocabSize;

  @Option(
      names = "--key",
      paramLabel = "KEY",
      description =
          "Key of the text in .jsonl, .json, .csv and .parquet files; 'text' by default, of"
              + " objects that are no chats: messages, conversations, or prompt and completion.")
  private Optional<String> key;

  @Option(
      names = "--separator",
      paramLabel = "LINE",
      defaultValue = "<|endoftext|>",
      description =
          "Line between documents of .txt files; '${DEFAULT-VALUE}' by default, '' for blank"
              + " lines.")
  private String separator;

  @Option(
      names = "--skip-bad-lines",
      description =
          "Leave out, and count, lines that are not UTF-8, not JSON or without a text, and chats"
              + " that the model's template does not take.")
  private boolean skipBadLines;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Threads that work on the text; as many as there are cores by default.")
  private Optional<Integer> threads;

  /** The report of {@code --json}. */
  private record Result(
      String output,
      String tokenizer,
      int vocabSize,
      @JsonUnwrapped Preparation.Summary summary,
      double bytesPerToken,
      double megabytesPerSecond) {}

  @Override
  public Integer call() {
    int threadCount = threads.orElse(Threads.all());
    Usage.require(spec, threadCount >= 1, "--threads " + threadCount + " is below 1");
    Usage.require(
        spec,
        vocabSize.isEmpty() || tokenizer.equals(TRAIN),
        "--vocab-size is for a tokenizer that is trained, and --tokenizer names one that is there");
    Usage.require(
        spec,
        vocabSize.isEmpty() || vocabSize.get() >= BpeTrainer.MIN_VOCAB_SIZE,
        "--vocab-size is below " + BpeTrainer.MIN_VOCAB_SIZE + ", the 256 bytes and one");
    Usage.require(spec, output.getFileName() != null, "--output names no file");

    TextCorpus corpus = TextCorpus.of(inputs, new TextCorpus.Format(separator, key, skipBadLines));
    try (WorkProgress progress = WorkProgress.onConsole(err())) {
      Tokenizer used = tokenizer(corpus, threadCount, progress);
      print(used, prepare(corpus, used, threadCount, progress));
    }
    return ExitCode.OK;
  }

  /**
   * The figures, and the origin of the chat template.
   *
   * @param template empty where there was no chat
   */
  private record Prepared(Preparation.Summary summary, String template) {}

  private Prepared prepare(TextCorpus corpus, Tokenizer used, int threadCount, Progress progress) {
    if (tokenizer.equals(TRAIN)) {
      return new Prepared(Preparation.run(corpus, used, output, threadCount, progress), "");
    }
    ChatPreparation chats = new ChatPreparation(used, skipBadLines);
    Preparation.Summary summary =
        Preparation.run(corpus, used, chats::encode, output, threadCount, progress);
    return new Prepared(summary, summary.chats() > 0 ? chats.template() : "");
  }

  private Tokenizer tokenizer(TextCorpus corpus, int threadCount, Progress progress) {
    return tokenizer.equals(TRAIN)
        ? BpeTrainer.train(corpus, vocabSize.orElse(DEFAULT_VOCAB_SIZE), threadCount, progress)
        : Tokenizer.load(Path.of(tokenizer));
  }

  private void print(Tokenizer used, Prepared prepared) {
    PrintWriter out = out();
    Preparation.Summary summary = prepared.summary();
    Path folder = Preparation.tokenizerFolder(output);
    if (json.requested()) {
      JsonOption.print(
          out,
          new Result(
              output.toString(),
              folder.toString(),
              used.vocabSize(),
              summary,
              summary.bytesPerToken(),
              summary.megabytesPerSecond()));
      return;
    }
    String mask = summary.chats() > 0 ? ", .mask" : "";
    out.printf("written     %s.bin, .idx%s and %s/%n", output, mask, folder);
    out.printf("documents   %,d%n", summary.documents());
    out.printf(
        "tokens      %,d, of %.2f bytes of text on average%n",
        summary.tokens(), summary.bytesPerToken());
    if (summary.chats() > 0) {
      out.printf("chats       %,d, written by %s%n", summary.chats(), prepared.template());
      out.printf("learned     %,d tokens; the others are context%n", summary.countedTokens());
    }
    out.printf("vocabulary  %,d%n", used.vocabSize());
    out.printf(
        "speed       %.1f MB of text in %.1f s, %.1f MB/s%n",
        (summary.textBytes() - summary.earlierBytes()) / 1e6,
        summary.seconds(),
        summary.megabytesPerSecond());
    if (summary.earlierBytes() > 0) {
      out.printf("went on     behind %.1f MB of text%n", summary.earlierBytes() / 1e6);
    }
    if (summary.emptyDocuments() > 0) {
      out.printf("left out    %,d documents without text%n", summary.emptyDocuments());
    }
    if (summary.skippedLines() > 0) {
      out.printf("left out    %,d bad lines%n", summary.skippedLines());
    }
    if (tokenizer.equals(TRAIN) && used.vocabSize() < vocabSize.orElse(DEFAULT_VOCAB_SIZE)) {
      out.printf(
          "note        fewer tokens than the %,d asked for: the text repeats no other pair%n",
          vocabSize.orElse(DEFAULT_VOCAB_SIZE));
    }
  }
}
