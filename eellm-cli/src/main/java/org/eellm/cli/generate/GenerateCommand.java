package org.eellm.cli.generate;

import com.fasterxml.jackson.annotation.JsonInclude;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Supplier;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.PlainOutput;
import org.eellm.config.ConfigException;
import org.eellm.config.HeadId;
import org.eellm.decode.BeamSearch;
import org.eellm.decode.BeamSearch.Hypothesis;
import org.eellm.decode.DecodeStats;
import org.eellm.decode.Generator;
import org.eellm.decode.Generator.Measured;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.sample.Sampler;
import org.eellm.decode.sample.SamplingDefaults;
import org.eellm.decode.token.GeneratedToken;
import org.eellm.decode.token.GeneratedToken.Alternative;
import org.eellm.distributed.World;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Help.Ansi;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** {@code eellm generate}: continues texts, leaving the model early where it is sure. */
@Command(
    name = "generate",
    description = "Continues texts with early exits; docs/generate.md says how.")
public final class GenerateCommand extends EellmCommand {
  private static final int DEFAULT_MAX_TOKENS = 128;
  private static final double LENGTH_PENALTY = 1;

  @Mixin private ModelOptions modelOptions;
  @Mixin private DecodingOptions decodingOptions;
  @Mixin private SamplingOptions samplingOptions;
  @Mixin private GrammarOptions grammarOptions;
  @Mixin private MeshOptions meshOptions;
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
              + " by default. Changes speed; no text but by rounding.")
  private Optional<Integer> batchSize;

  @Option(
      names = "--alternatives",
      paramLabel = "N",
      defaultValue = "0",
      description = "With --json: tell the N most probable tokens beside each; 0 by default.")
  private int alternatives;

  @Option(
      names = "--beams",
      paramLabel = "N",
      description =
          "Search for the most probable text with N beams, in the full model and without sampling.")
  private Optional<Integer> beams;

  @Option(
      names = "--length-penalty",
      paramLabel = "X",
      description =
          "With --beams: above 1 prefers long texts, below 1 short ones; "
              + LENGTH_PENALTY
              + " by default.")
  private Optional<Double> lengthPenalty;

  @Option(
      names = "--stats",
      description = "Tell afterwards where the time went, on stderr or as a last line of --json.")
  private boolean stats;

  /** The report of {@code --json} on a prompt; the lists have an entry for each token. */
  private record Output(
      String text,
      List<Integer> ids,
      List<Integer> exits,
      List<HeadId> heads,
      List<Double> confidences,
      List<Double> logProbabilities,
      @JsonInclude(JsonInclude.Include.NON_EMPTY) List<List<Alternative>> alternatives,
      String finishReason,
      int promptTokens,
      int draftedTokens,
      int confirmedTokens,
      double firstTokenSeconds,
      double tokensPerSecond) {}

  /** The last line of {@code --json} with {@code --stats}: of all prompts together. */
  private record StatsOutput(DecodeStats stats) {}

  /** The generated texts, and where the time went, if that is asked for. */
  private record Generated(List<Result> results, Optional<DecodeStats> stats) {}

  @Override
  public Integer call() throws IOException {
    Optional<Integer> toLaunch = meshOptions.toLaunch(spec);
    refuseWithBeams();
    refuseStatsOfStages();
    refuseStandardInputOfRanks();
    if (toLaunch.isPresent()) {
      return MeshOptions.launch(spec, toLaunch.get());
    }
    List<String> texts = texts();
    return meshOptions.inWorld(
        modelOptions.device(),
        world -> {
          try (LoadedModel model = meshOptions.load(modelOptions, world)) {
            run(texts, model, world);
          }
          return ExitCode.OK;
        });
  }

  /** Generates; the first rank tells. */
  private void run(List<String> texts, LoadedModel model, World world) {
    SamplingDefaults defaults = model.sampling();
    Sampler sampler = samplingOptions.sampler(defaults, grammarOptions.constraint(model));
    Limits limits =
        Limits.of(model.decoder())
            .withVocabulary(model.vocabulary())
            .withBatchSize(batchSize.orElse(Limits.BATCH_SIZE))
            .withMaxPending(decodingOptions.maxPending());
    List<Request> requests = new ArrayList<>();
    Continuations continuations = new Continuations();
    for (int i = 0; i < texts.size(); i++) {
      List<Integer> ids = model.prompt(texts.get(i), "prompt " + (i + 1));
      int most = maxTokens(ids.size(), model);
      DecodingMethod decoding = decodingOptions.decoding(model, most);
      requests.add(
          new Request(ids, most, model.endTokens(), decoding, sampler)
              .withAlternatives(alternatives));
      continuations.add(model.detokenizer(ids), stops);
    }
    if (world.rank() == 0) {
      decodingOptions.tellCalibration(model);
      if (beams.isEmpty()) {
        samplingOptions.tell(defaults, err());
      }
    }
    Supplier<Generated> work = () -> generate(model, world, limits, requests, continuations);
    if (world.rank() > 0) {
      generate(model, world, limits, requests, continuations);
    } else if (json.requested()) {
      printJson(continuations, work.get());
    } else {
      printText(model, continuations, requests.size() == 1, work);
    }
  }

  private int maxTokens(int promptTokens, LoadedModel model) {
    int room = Math.max(1, model.context() - promptTokens); // too little is the generator's to say
    return maxTokens.orElse(Math.min(DEFAULT_MAX_TOKENS, room));
  }

  private Generated generate(
      LoadedModel model,
      World world,
      Limits limits,
      List<Request> requests,
      Continuations continuations) {
    Generated generated;
    if (stats) {
      Measured measured =
          Generator.measure(model.decoder(), limits, requests, continuations::accept);
      generated = new Generated(measured.results(), Optional.of(measured.stats()));
    } else if (beams.isPresent()) {
      generated = new Generated(search(model, limits, requests, continuations), Optional.empty());
    } else {
      List<Result> results =
          Generator.generate(model.decoder(), world, limits, requests, continuations::accept);
      generated = new Generated(results, Optional.empty());
    }
    continuations.finish();
    return generated;
  }

  /** The best text of each prompt, one prompt after the other. */
  private List<Result> search(
      LoadedModel model, Limits limits, List<Request> requests, Continuations continuations) {
    BeamSearch search = new BeamSearch(beams.orElseThrow(), lengthPenalty.orElse(LENGTH_PENALTY));
    List<Result> results = new ArrayList<>();
    for (int i = 0; i < requests.size(); i++) {
      Request request = requests.get(i);
      long start = System.nanoTime();
      Hypothesis best =
          search
              .search(
                  model.decoder(),
                  limits,
                  request.prompt(),
                  request.maxTokens(),
                  request.endTokens())
              .getFirst();
      double seconds = (System.nanoTime() - start) / 1e9;
      for (GeneratedToken token : best.tokens()) {
        continuations.accept(i, token);
      }
      Usage usage = new Usage(request.prompt().size(), 0, 0, 0);
      results.add(new Result(best.tokens(), best.reason(), usage, 0, seconds, seconds));
    }
    return results;
  }

  private void refuseWithBeams() {
    if (beams.isEmpty() && lengthPenalty.isPresent()) {
      throw new ConfigException("--length-penalty has no effect without --beams; leave it out");
    }
    Optional<String> ignored =
        decodingOptions
            .given()
            .or(samplingOptions::given)
            .or(grammarOptions::given)
            .or(() -> stops.isEmpty() ? Optional.empty() : Optional.of("--stop"))
            .or(() -> batchSize.map(value -> "--batch-size"))
            .or(() -> alternatives == 0 ? Optional.empty() : Optional.of("--alternatives"))
            .or(() -> stats ? Optional.of("--stats") : Optional.empty())
            .or(() -> meshOptions.isAlone() ? Optional.empty() : Optional.of("--tp or --pp"));
    if (beams.isPresent() && ignored.isPresent()) {
      throw new ConfigException(
          ignored.get()
              + " has no effect with --beams, which searches in the full model; leave it"
              + " out");
    }
  }

  private void refuseStatsOfStages() {
    if (stats && meshOptions.stages() > 1) {
      throw new ConfigException(
          "--stats: tells of one process, and --pp %d has a part of the layers on each of its"
                  .formatted(meshOptions.stages())
              + " ranks; leave it or --pp out");
    }
  }

  private void refuseStandardInputOfRanks() {
    if (meshOptions.startsRanks() && promptFile.filter(PromptFile::isStandardInput).isPresent()) {
      throw new ConfigException(
          "--prompt-file -: ranks that --nproc starts have no standard input; give a file");
    }
  }

  private void printJson(Continuations continuations, Generated generated) {
    List<Result> results = generated.results();
    for (int i = 0; i < results.size(); i++) {
      Result result = results.get(i);
      List<GeneratedToken> tokens = result.tokens();
      JsonOption.print(
          out(),
          new Output(
              continuations.text(i),
              result.ids(),
              tokens.stream().map(GeneratedToken::layer).toList(),
              tokens.stream().map(GeneratedToken::head).toList(),
              tokens.stream().map(GeneratedToken::confidence).toList(),
              tokens.stream().map(GeneratedToken::logProbability).toList(),
              alternatives == 0
                  ? List.of()
                  : tokens.stream().map(GeneratedToken::alternatives).toList(),
              result.reason().name().toLowerCase(Locale.ROOT),
              result.usage().promptTokens(),
              result.usage().draftedTokens(),
              result.usage().acceptedTokens(),
              result.firstTokenSeconds(),
              tokens.size() / result.seconds()));
    }
    generated.stats().ifPresent(found -> JsonOption.print(out(), new StatsOutput(found)));
  }

  /**
   * @param alone whether there is one text, which is printed as it comes
   */
  private void printText(
      LoadedModel model, Continuations continuations, boolean alone, Supplier<Generated> work) {
    PrintWriter err = err();
    PrintWriter out = PlainOutput.raw(out());
    ExitColors colors = new ExitColors(model.architecture().exits().layers(), Ansi.AUTO);
    if (colors.enabled() && !model.architecture().exits().layers().isEmpty()) {
      PlainOutput.raw(err).println(colors.legend());
    }
    if (alone) {
      continuations.listen(
          piece -> {
            out.print(piece.painted(colors));
            out.flush();
          });
    }
    long start = System.nanoTime();
    Generated generated = work.get();
    double seconds =
        generated.stats().map(DecodeStats::seconds).orElse((System.nanoTime() - start) / 1e9);
    if (alone) {
      out.println();
    } else {
      for (int i = 0; i < generated.results().size(); i++) {
        out.printf("==> prompt %d <==%n", i + 1);
        out.println(continuations.painted(i, colors));
      }
    }
    err.println(
        ExitSummary.of(generated.results(), seconds)
            .line(model.architecture().model().numLayers()));
    generated.stats().ifPresent(found -> DecodeStatsText.print(err, found));
  }

  private List<String> texts() throws IOException {
    List<String> texts = new ArrayList<>(prompts);
    if (promptFile.isPresent()) {
      texts.addAll(PromptFile.lines(promptFile.get()));
    }
    if (texts.isEmpty()) {
      throw new ParameterException(
          spec.commandLine(), "there is no prompt; give --prompt TEXT or --prompt-file FILE");
    }
    return texts;
  }
}
