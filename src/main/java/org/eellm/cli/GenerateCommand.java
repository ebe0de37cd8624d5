package org.eellm.cli;

import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.eellm.generate.ExitPolicy;
import org.eellm.generate.GenerateException;
import org.eellm.generate.GeneratedToken;
import org.eellm.generate.Generator;
import org.eellm.generate.Limits;
import org.eellm.generate.Request;
import org.eellm.generate.Result;
import org.eellm.generate.Sampler;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code eellm generate}: continues texts, leaving the model early where it is sure. */
@Command(
    name = "generate",
    description = "Continues texts with early exits; docs/generation.md says how.")
final class GenerateCommand implements Callable<Integer> {
  private static final int DEFAULT_MAX_TOKENS = 128;

  @Spec private CommandSpec spec;
  @Mixin private ModelOptions modelOptions;
  @Mixin private ExitOptions exitOptions;
  @Mixin private SamplingOptions samplingOptions;
  @Mixin private JsonOption json;

  @Option(
      names = "--prompt",
      paramLabel = "TEXT",
      description = "A text to continue; may be given several times.")
  private List<String> prompts = List.of();

  @Option(
      names = "--prompt-file",
      paramLabel = "FILE",
      description = "Further texts, one a line, blank lines left out; - reads standard input.")
  private Optional<Path> promptFile;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "Most tokens to generate; "
              + DEFAULT_MAX_TOKENS
              + " by default, or as many as the context has room for.")
  private Optional<Integer> maxTokens;

  @Option(
      names = "--stop",
      paramLabel = "TEXT",
      description = "End before this text; may be given several times.")
  private List<String> stops = List.of();

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      description =
          "Texts in work at once; "
              + Limits.BATCH_SIZE
              + " by default. Changes speed, but no text.")
  private Optional<Integer> batchSize;

  /** What {@code --json} prints for a prompt; the lists have an entry for each token. */
  private record Output(
      String text,
      List<Integer> ids,
      List<Integer> exits,
      List<String> heads,
      List<Double> confidences,
      String finishReason,
      int promptTokens,
      double firstTokenSeconds,
      double tokensPerSecond) {}

  @Override
  public Integer call() throws IOException {
    List<String> texts = texts();
    try (LoadedModel model = modelOptions.load()) {
      List<Integer> exits = model.architecture().exits().layers();
      ExitPolicy policy = exitOptions.policy(exits);
      Sampler sampler = samplingOptions.sampler();
      Limits limits =
          Limits.of(model.decoder())
              .withVocabSize(model.tokenizer().vocabSize())
              .withBatchSize(batchSize.orElse(Limits.BATCH_SIZE))
              .withMaxPending(exitOptions.maxPending());
      List<Request> requests = new ArrayList<>();
      Continuations continuations = new Continuations();
      for (int i = 0; i < texts.size(); i++) {
        List<Integer> ids = model.prompt(texts.get(i), "prompt " + (i + 1));
        requests.add(
            new Request(ids, maxTokens(ids.size(), model), model.endTokens(), policy, sampler));
        continuations.add(model.detokenizer(ids), stops);
      }
      if (json.requested()) {
        printJson(requests, continuations, generate(model, limits, requests, continuations));
      } else {
        printText(model, limits, requests, continuations);
      }
    }
    return ExitCode.OK;
  }

  private int maxTokens(int promptTokens, LoadedModel model) {
    int room = Math.max(1, model.context() - promptTokens); // too little is the generator's to say
    return maxTokens.orElse(Math.min(DEFAULT_MAX_TOKENS, room));
  }

  private static List<Result> generate(
      LoadedModel model, Limits limits, List<Request> requests, Continuations continuations) {
    List<Result> results =
        Generator.generate(model.decoder(), limits, requests, continuations::accept);
    continuations.finish();
    return results;
  }

  private void printJson(
      List<Request> requests, Continuations continuations, List<Result> results) {
    for (int i = 0; i < results.size(); i++) {
      Result result = results.get(i);
      List<GeneratedToken> tokens = result.tokens();
      JsonOption.print(
          spec.commandLine().getOut(),
          new Output(
              continuations.text(i),
              result.ids(),
              tokens.stream().map(GeneratedToken::layer).toList(),
              tokens.stream().map(GeneratedToken::head).toList(),
              tokens.stream().map(GeneratedToken::confidence).toList(),
              result.reason().name().toLowerCase(Locale.ROOT),
              requests.get(i).prompt().size(),
              result.firstTokenSeconds(),
              tokens.size() / result.seconds()));
    }
  }

  private void printText(
      LoadedModel model, Limits limits, List<Request> requests, Continuations continuations) {
    PrintWriter out = spec.commandLine().getOut();
    PrintWriter err = spec.commandLine().getErr();
    ExitColors colors = new ExitColors(model.architecture().exits().layers(), Ansi.AUTO);
    if (colors.enabled() && !model.architecture().exits().layers().isEmpty()) {
      err.println(colors.legend());
      err.flush();
    }
    boolean alone = requests.size() == 1;
    if (alone) {
      continuations.listen(
          (piece, head) -> {
            out.print(colors.paint(piece, head));
            out.flush();
          });
    }
    long start = System.nanoTime();
    List<Result> results = generate(model, limits, requests, continuations);
    double seconds = (System.nanoTime() - start) / 1e9;
    if (alone) {
      out.println();
    } else {
      for (int i = 0; i < results.size(); i++) {
        out.printf("==> prompt %d <==%n", i + 1);
        out.println(continuations.painted(i, colors));
      }
    }
    out.flush();
    err.println(ExitSummary.of(results, seconds).line(model.architecture().model().numLayers()));
    err.flush();
  }

  private List<String> texts() throws IOException {
    List<String> texts = new ArrayList<>(prompts);
    if (promptFile.isPresent()) {
      texts.addAll(lines(promptFile.get()));
    }
    if (texts.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(), "there is no prompt; give --prompt TEXT or --prompt-file FILE");
    }
    return texts;
  }

  private static List<String> lines(Path file) throws IOException {
    boolean standardInput = file.toString().equals("-");
    try (Reader reader =
        standardInput
            ? new InputStreamReader(System.in, StandardCharsets.UTF_8.newDecoder())
            : Files.newBufferedReader(file)) {
      List<String> texts = reader.readAllLines().stream().filter(line -> !line.isBlank()).toList();
      if (texts.isEmpty()) {
        throw new GenerateException(file + " has no prompt; write one a line");
      }
      return texts;
    } catch (CharacterCodingException malformed) {
      throw new GenerateException(file + " is not UTF-8; convert it, for example with iconv");
    }
  }
}
