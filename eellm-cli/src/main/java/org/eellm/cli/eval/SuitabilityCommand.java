package org.eellm.cli.eval;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.function.Function;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.eval.BeginningsOption.Beginnings;
import org.eellm.cli.option.ComputeOptions;
import org.eellm.cli.option.HeadsOption;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.MeshOptions;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.SharedSteps;
import org.eellm.decode.cost.StepTimings;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.ExitPolicy;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.decode.speculate.DraftPlanner;
import org.eellm.decode.speculate.OnlineCostModel;
import org.eellm.decode.speculate.StepCosts;
import org.eellm.distributed.World;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.DecodingCostModel;
import org.eellm.eval.sweep.MeasuredHeads;
import org.eellm.eval.sweep.Suitability;
import org.eellm.eval.sweep.Suitability.Forecast;
import org.eellm.eval.sweep.Suitability.Layer;
import org.eellm.model.Head;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code eellm suitability}: whether early exits are worth the bother for a model. */
@Command(
    name = "suitability",
    description =
        "Tells whether early exits are worth the bother for a model, with or without exits;"
            + " docs/evaluation.md says how.")
public final class SuitabilityCommand implements Callable<Integer> {
  private static final int SAMPLED_TEXTS = 24;
  private static final int SAMPLED_TOKENS = 16;

  /** Methods of {@code --code} by default. */
  private static final int METHODS = 40;

  @Spec private CommandSpec spec;
  @Mixin private HeadsOption heads;
  @Mixin private ComputeOptions compute;
  @Mixin private MeshOptions meshOptions;
  @Mixin private JsonOption json;
  @Mixin private LimitOption limit;
  @Mixin private BeginningsOption given;

  @Parameters(
      paramLabel = "DIR",
      description =
          "A model folder, a checkpoint, or a run's output, of which the newest is taken.")
  private Path path;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Most tokens of each text; ${DEFAULT-VALUE} by default.")
  private int maxTokens;

  @Option(
      names = "--calibration",
      paramLabel = "FILE",
      description =
          "Also forecast early exits by a file that eellm calibrate wrote, such as one with gates;"
              + " on one rank the model's own by default.")
  private Optional<Path> calibration;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of beginnings that are sampled; 1 by default.")
  private Optional<Long> seed;

  /** What {@code --json} prints. */
  private record Report(String model, String verdict, String reason, Suitability figures) {}

  /**
   * What is asked of a model.
   *
   * @param beginnings of texts
   * @param calibration file of one, if one is looked at
   * @param policy of it
   */
  private record Questions(
      Function<EvaluatedModel, List<List<Integer>>> beginnings,
      Optional<Path> calibration,
      Optional<ExitPolicy> policy) {}

  /** What exits say of texts. */
  private record Traces(
      ExitTrace exits, ExitTrace drafts, Optional<MeasuredHeads.Calibrated> calibrated) {}

  @Override
  public Integer call() throws IOException {
    if (maxTokens < 2) {
      throw new ConfigException("--max-tokens: " + maxTokens + " is below 2; use 2 or more");
    }
    if (!given.isEmpty() && seed.isPresent()) {
      throw new ConfigException(
          "--seed has no effect with --prompts or --code, which are not sampled; leave it out");
    }
    if (limit.isPresent() && !given.isCode()) {
      throw new ConfigException("--limit is for --code; leave it out");
    }
    given.require(limit);
    compute.useThreads();
    Function<EvaluatedModel, List<List<Integer>>> beginnings = this::sampled;
    if (!given.isEmpty()) {
      Beginnings read = given.read();
      int methods = limit.items().orElse(METHODS);
      beginnings = subject -> read.tokens(subject, methods, maxTokens);
    }
    ModelFolder files = heads.resolve(path);
    if (files.config().architecture().model().numLayers() < 2) {
      throw new EvalException(files.folder() + ": a model of one layer has no place for exits");
    }
    Path own = files.headsFolder().resolve(ModelFolder.CALIBRATION);
    Optional<Path> file =
        meshOptions.isAlone() && Files.exists(own)
            ? calibration.or(() -> Optional.of(own))
            : calibration;
    Questions questions =
        new Questions(
            beginnings,
            file,
            file.isPresent() ? Optional.of(policy(file.get(), files)) : Optional.empty());
    Optional<Integer> toLaunch = meshOptions.toLaunch(spec);
    return toLaunch.isPresent()
        ? MeshOptions.launch(spec, toLaunch.get())
        : meshOptions.inWorld(compute.device(), world -> judge(files, questions, world));
  }

  /** When tokens leave by a calibration of the model's. */
  private ExitPolicy policy(Path file, ModelFolder files) throws IOException {
    DecodingMethod decoding =
        DecodingSettings.builder()
            .calibration(Calibration.read(file))
            .build()
            .decoding(files.config().architecture().exits().layers(), 1, name -> "--" + name);
    if (!decoding.gates().isEmpty() && !meshOptions.isAlone()) {
      throw new ConfigException(
          "--calibration: the gates of %s need the whole model on one rank; leave out --tp and --pp, or the file"
              .formatted(file));
    }
    return ((DecodingMethod.EarlyExit) decoding).policy();
  }

  /** Measures with the other ranks, and tells on the first one. */
  private int judge(ModelFolder files, Questions questions, World world) {
    List<GreedyContinuation> texts = new ArrayList<>(); // the same for both models
    Function<EvaluatedModel, Traces> ofLens =
        subject -> {
          if (texts.isEmpty()) {
            List<List<Integer>> beginnings = questions.beginnings().apply(subject);
            texts.addAll(GreedyContinuation.write(subject, beginnings, maxTokens));
          }
          return traces(subject, texts);
        };
    Function<EvaluatedModel, Traces> ofExits =
        subject -> {
          LoadedModel model = subject.model();
          questions
              .policy()
              .ifPresent(
                  policy -> Gate.requireModel(policy.gates(), model.decoder(), model.vocabulary()));
          Traces plain = ofLens.apply(subject);
          return new Traces(
              plain.exits(),
              plain.drafts(),
              questions.policy().map(policy -> calibrated(subject, texts, questions)));
        };
    Optional<MeasuredHeads> own =
        files.config().architecture().exits().layers().isEmpty()
            ? Optional.empty()
            : measure(meshOptions.load(files, compute, world), world, ofExits);
    Optional<MeasuredHeads> lens =
        measure(
            LoadedModel.load(
                files,
                stored ->
                    meshOptions.logitLens(files, compute.in(stored), compute.device(), world)),
            world,
            ofLens);
    lens.map(
            measured ->
                own.map(exits -> Suitability.of(measured, exits))
                    .orElseGet(() -> Suitability.of(measured)))
        .ifPresent(result -> report(files, result));
    return ExitCode.OK;
  }

  private void report(ModelFolder files, Suitability result) {
    String verdict = result.verdict().name().toLowerCase(Locale.ROOT);
    PrintWriter out = spec.commandLine().getOut();
    if (json.requested()) {
      JsonOption.print(
          out, new Report(files.folder().toString(), verdict, result.reason(), result));
    } else {
      print(out, result);
    }
  }

  /** Beginnings of texts as the model writes them, each drawn anew. */
  private List<List<Integer>> sampled(EvaluatedModel subject) {
    LoadedModel model = subject.model();
    int first = model.tokenizer().beginningOfSequence().orElse(model.tokenizer().endOfDocument());
    List<Request> requests = new ArrayList<>();
    for (int i = 0; i < SAMPLED_TEXTS; i++) {
      requests.add(
          new Request(
              List.of(first),
              SAMPLED_TOKENS,
              model.endTokens(),
              DecodingMethod.full(),
              new RandomSampler(1, 0, 1, 1, seed.orElse(1L) + i)));
    }
    return subject.runOneByOne(requests).stream()
        .map(
            result -> {
              List<Integer> ids = new ArrayList<>(List.of(first));
              ids.addAll(result.ids());
              return List.copyOf(ids);
            })
        .toList();
  }

  /**
   * What a model's exits say and cost; nothing on ranks but the first.
   *
   * @param loaded this rank's part; closed
   * @param trace asked on the first rank
   */
  private Optional<MeasuredHeads> measure(
      LoadedModel loaded, World world, Function<EvaluatedModel, Traces> trace) {
    List<Traces> traces = new ArrayList<>(); // one, on the first rank
    try (LoadedModel model = loaded) {
      SharedSteps.run(
          world,
          model.decoder(),
          engines -> {
            try (Engine engine = model.engine(engines, Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
              traces.add(trace.apply(new EvaluatedModel(model, engine)));
            }
          });
      Optional<DecodingCostModel> costs =
          StepTimings.measure(world, model.decoder(), model.limits()).map(DecodingCostModel::of);
      // Ranks that share a model learn no costs: they plan with what is assumed at first.
      StepCosts planned =
          meshOptions.isAlone() ? costs.orElseThrow() : new OnlineCostModel(model.decoder(), false);
      List<Head> heads = model.decoder().allHeads();
      DraftTable table = model.vocabulary().draftTable();
      return traces.stream()
          .findFirst()
          .map(
              found ->
                  new MeasuredHeads(
                      found.exits(),
                      found.drafts(),
                      found.calibrated(),
                      costs.orElseThrow(),
                      () -> new DraftPlanner(heads, planned, table),
                      System::nanoTime));
    }
  }

  private static Traces traces(EvaluatedModel subject, List<GreedyContinuation> texts) {
    ExitTrace exits =
        ExitTrace.of(
            subject, texts, new Calibration.OfPolicy(PolicyName.MAX_PROBABILITY, new TreeMap<>()));
    return new Traces(exits, ExitTrace.ofDrafts(subject, texts), Optional.empty());
  }

  private MeasuredHeads.Calibrated calibrated(
      EvaluatedModel subject, List<GreedyContinuation> texts, Questions questions) {
    ExitPolicy policy = questions.policy().orElseThrow();
    return new MeasuredHeads.Calibrated(
        questions.calibration().orElseThrow().toString(),
        ExitTrace.ofDecisions(subject, texts, policy),
        !policy.gates().isEmpty());
  }

  private void print(PrintWriter out, Suitability result) {
    out.println("layer  final head agrees  settled here");
    for (Layer layer : result.layers()) {
      out.printf(
          "%5d %16.1f %% %11.1f %%%n",
          layer.layer(), 100 * layer.agreement(), 100 * layer.settled());
    }
    out.printf(
        "A token is settled at layer %.2f of %d on average; to leave just there would gain"
            + " %.2f.%n%n",
        result.meanDepth(), result.layers().size(), result.oracle());
    out.printf(
        "Forecast with %s, of %,d tokens in %d texts:%n",
        result.trained() ? "the model's exits" : "copies of the final head, the best layer",
        result.tokens(),
        result.texts());
    out.println("mode         speed-up  agreement  setting");
    for (Forecast best : result.best()) {
      out.printf(
          "%-12s %8.2f %8.1f %%  %s%n",
          best.setting().mode(), best.speedUp(), 100 * best.agreement(), best.setting().options());
    }
    if (result.trained()) {
      thresholds(out, result);
    }
    result.costs().limit().ifPresent(limit -> out.printf("%n%s%n", limit.text()));
    out.printf(
        "%nWorth the bother? %s: %s.%n",
        result.verdict().name().toLowerCase(Locale.ROOT), result.reason());
    out.flush();
  }

  /** Speed-up of both modes by threshold. */
  private static void thresholds(PrintWriter out, Suitability result) {
    out.println("\nthreshold  early-exit  recompute  agreement");
    List<Forecast> leaving = of(result, DecodingMode.EARLY_EXIT);
    List<Forecast> recomputing = of(result, DecodingMode.RECOMPUTE); // at the same thresholds
    for (int i = 0; i < leaving.size(); i++) {
      out.printf(
          "%9.2f %11.2f %10.2f %8.1f %%%n",
          leaving.get(i).setting().threshold().orElseThrow(),
          leaving.get(i).speedUp(),
          recomputing.get(i).speedUp(),
          100 * leaving.get(i).agreement());
    }
  }

  private static List<Forecast> of(Suitability result, DecodingMode mode) {
    return result.forecasts().stream()
        .filter(forecast -> forecast.setting().mode() == mode)
        .filter(forecast -> forecast.setting().calibration().isEmpty())
        .toList();
  }
}
