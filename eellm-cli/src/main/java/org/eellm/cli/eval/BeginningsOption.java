package org.eellm.cli.eval;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.generate.PromptFile;
import org.eellm.config.ConfigException;
import org.eellm.data.corpus.JavaSources;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.sweep.MethodCompletions;
import org.eellm.eval.sweep.SweepConditions;
import picocli.CommandLine.Option;

/** The options {@code --prompts} and {@code --code}, as a mixin: what the model goes on from. */
final class BeginningsOption {
  private static final int MOST_METHODS = 1000;

  @Option(
      names = "--prompts",
      paramLabel = "FILE",
      description =
          "Prompts that the model has not seen, one a line. Without them, suitability samples"
              + " beginnings.")
  private Optional<Path> prompts;

  @Option(
      names = "--code",
      paramLabel = "JAR",
      description =
          "In place of prompts: Java sources that the model has not seen, a jar or a folder of"
              + " jars. --limit methods are continued from their middle: by default 40 for"
              + " suitability, 240 to calibrate, and 100 in a sweep, where they also give scores:"
              + " the next line, the method, whether it parses, and the file's perplexity.")
  private Optional<Path> code;

  /** Begun texts that no model has tokenized yet. */
  sealed interface Beginnings {
    /**
     * Begun texts as tokens.
     *
     * @param methods of sources; fewer, where they have not as many
     * @param maxTokens of a continuation
     */
    List<List<Integer>> tokens(EvaluatedModel subject, int methods, int maxTokens);
  }

  /** A prompt each. */
  record Lines(List<String> lines) implements Beginnings {
    @Override
    public List<List<Integer>> tokens(EvaluatedModel subject, int methods, int maxTokens) {
      return subject.model().prompts(lines);
    }
  }

  /** Java sources, whose methods are to be continued. */
  record Sources(List<String> files) implements Beginnings {
    @Override
    public List<List<Integer>> tokens(EvaluatedModel subject, int methods, int maxTokens) {
      return methods(subject, methods, maxTokens, SweepConditions.USUAL).prompts();
    }

    MethodCompletions methods(
        EvaluatedModel subject, int count, int maxTokens, SweepConditions conditions) {
      return MethodCompletions.of(subject, files, count, maxTokens, EvalCommand.SEED, conditions);
    }
  }

  /** Whether there is exactly one of the two. */
  boolean isGiven() {
    return prompts.isPresent() != code.isPresent();
  }

  boolean isEmpty() {
    return prompts.isEmpty() && code.isEmpty();
  }

  boolean isCode() {
    return code.isPresent();
  }

  /** The file's name, if there is one. */
  Optional<Path> file() {
    return code.or(() -> prompts);
  }

  /** Refuses both, and a limit that takes days. */
  void require(LimitOption limit) {
    if (prompts.isPresent() && code.isPresent()) {
      throw new ConfigException("--code takes the place of --prompts; give one of them");
    }
    limit.require();
    int methods = limit.items().orElse(1);
    if (isCode() && methods > MOST_METHODS) {
      throw new ConfigException(
          "--limit: %d methods with --code; use %d or fewer".formatted(methods, MOST_METHODS));
    }
  }

  /** Reads the file; no prompts where there is none. */
  Beginnings read(LimitOption limit) throws IOException {
    if (code.isPresent()) {
      return new Sources(JavaSources.files(code.get()));
    }
    List<String> lines = prompts.isPresent() ? PromptFile.lines(prompts.get()) : List.of();
    return new Lines(lines.subList(0, Math.min(limit.items().orElse(lines.size()), lines.size())));
  }
}
