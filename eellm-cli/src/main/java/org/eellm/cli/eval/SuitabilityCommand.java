package org.eellm.cli.eval;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import org.eellm.checkpoint.ModelFolder;
import org.eellm.cli.eval.BeginningsOption.Beginnings;
import org.eellm.cli.option.ComputeOptions;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.TunedPartsOptions;
import org.eellm.cli.option.WorkProgress;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.sample.RandomSampler;
import org.eellm.distributed.World;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.sweep.Suitability;
import org.eellm.eval.sweep.Suitability.Exit;
import org.eellm.eval.sweep.Suitability.Finding;
import org.eellm.eval.sweep.SweepRun;
import org.eellm.eval.sweep.SweepSetting;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code eellm suitability}: whether early exits are worth the bother for a model. */
@Command(
    name = "suitability",
    description =
        "Measures in about a minute whether early exits are worth the bother for a model, with or"
            + " without exits; docs/evaluate.md says how.")
public final class SuitabilityCommand extends EellmCommand {
  private static final int SAMPLED_TEXTS = 24;
  private static final int SAMPLED_TOKENS = 16;

  /** Methods of {@code --code} by default. */
  private static final int METHODS = 40;

  @Mixin private TunedPartsOptions tunedParts;
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
          "Also measure early exits by a file that eellm calibrate wrote, such as one with gates;"
              + " on one rank the model's own by default.")
  private Optional<Path> calibration;

  @Option(
      names = "--seed",
      paramLabel = "N",
      description = "Of beginnings that are sampled; 1 by default.")
  private Optional<Long> seed;

  /** The report of {@code --json}. */
  private record Report(String model, String verdict, String reason, Suitability figures) {}

  @Override
  public Integer call() throws IOException {
    ConfigException.requireAtLeast(2, maxTokens, "--max-tokens");
    if (!given.isEmpty() && seed.isPresent()) {
      throw new ConfigException(
          "--seed has no effect with --prompts or --code, which are not sampled; leave it out");
    }
    if (limit.isPresent() && given.isEmpty()) {
      throw new ConfigException("--limit is for --prompts and --code; leave it out");
    }
    given.require(limit);
    compute.useThreads();
    Function<EvaluatedModel, List<List<Integer>>> beginnings = this::sampled;
    if (!given.isEmpty()) {
      Beginnings read = given.read(limit);
      int methods = limit.items().orElse(METHODS);
      beginnings = subject -> read.tokens(subject, methods, maxTokens);
    }
    ModelFolder files = tunedParts.resolve(path);
    if (files.config().architecture().model().numLayers() < 2) {
      throw new EvalException(files.folder() + ": a model of one layer has no place for exits");
    }
    Path own = files.calibrationFolder().resolve(ModelFolder.CALIBRATION);
    Optional<Path> file =
        meshOptions.isAlone() && Files.exists(own)
            ? calibration.or(() -> Optional.of(own))
            : calibration;
    Optional<Calibration> read =
        file.isPresent() ? Optional.of(calibration(file.get(), files)) : Optional.empty();
    Optional<Integer> toLaunch = meshOptions.toLaunch(spec);
    if (toLaunch.isPresent()) {
      return MeshOptions.launch(spec, toLaunch.get());
    }
    Function<EvaluatedModel, List<List<Integer>>> prompts = beginnings;
    List<SweepSetting> settings =
        file.stream()
            .map(by -> SweepSetting.calibrated(DecodingMode.EARLY_EXIT, by.toString()))
            .toList();
    return meshOptions.inWorld(
        compute.device(),
        world -> {
          try (LoadedModel model = load(files, world)) {
            read.ifPresent(
                of -> Gate.requireModel(of.policy().gates(), model.decoder(), model.vocabulary()));
            TensorParallelEngine.run(
                world,
                model.decoder(),
                engines -> {
                  try (Engine engine =
                      model.engine(engines, Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
                    EvaluatedModel subject = new EvaluatedModel(model, engine);
                    report(files, measure(files, subject, prompts.apply(subject), settings));
                  }
                });
          }
          return ExitCode.OK;
        });
  }

  /** A calibration of the model's exits. */
  private Calibration calibration(Path file, ModelFolder files) throws IOException {
    Calibration read = Calibration.read(file);
    DecodingMethod decoding =
        DecodingSettings.NONE
            .with(DecodingSetting.CALIBRATION, read)
            .decoding(files.config().architecture().exits().layers(), 1, name -> "--" + name);
    if (!decoding.gates().isEmpty() && !meshOptions.isAlone()) {
      throw new ConfigException(
          "--calibration: the gates of %s need the whole model on one rank; leave out --tp and --pp, or the file"
              .formatted(file));
    }
    return read;
  }

  private static boolean hasExits(ModelFolder files) {
    return !files.config().architecture().exits().layers().isEmpty();
  }

  /** This rank's part of the model, with copies of the final head where it has no exits. */
  private LoadedModel load(ModelFolder files, World world) {
    return hasExits(files)
        ? meshOptions.load(files, compute, world)
        : LoadedModel.load(
            files,
            stored -> meshOptions.logitLens(files, compute.in(stored), compute.device(), world));
  }

  private Suitability measure(
      ModelFolder files,
      EvaluatedModel subject,
      List<List<Integer>> prompts,
      List<SweepSetting> calibrated) {
    SweepRun run =
        new SweepRun(
            meshOptions.isAlone() ? subject.model()::generate : subject::runOneByOne,
            subject.exits(),
            subject.endTokens(),
            prompts,
            maxTokens);
    try (WorkProgress progress = WorkProgress.onConsole(err())) {
      return Suitability.measure(subject, hasExits(files), calibrated, run, progress);
    }
  }

  private void report(ModelFolder files, Suitability result) {
    String verdict = result.verdict().name().toLowerCase(Locale.ROOT);
    if (json.requested()) {
      JsonOption.print(
          out(), new Report(files.folder().toString(), verdict, result.reason(), result));
      return;
    }
    print(out(), result);
    out().printf("%nWorth the bother? %s: %s.%n", verdict, result.reason());
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

  private static void print(PrintWriter out, Suitability result) {
    out.println(
        result.trained() ? "exit  agrees  settled here" : "layer  final head agrees  settled here");
    String line = result.trained() ? "%4d %5.1f %% %11.1f %%%n" : "%5d %16.1f %% %11.1f %%%n";
    for (Exit exit : result.exits()) {
      out.printf(line, exit.layer(), 100 * exit.agreement(), 100 * exit.settled());
    }
    out.printf(
        "A token is settled at layer %.2f of %d on average, of %,d in %d texts: no use of these"
            + " exits gains more than %.2f.%n%n",
        result.meanDepth(), result.layers(), result.tokens(), result.texts(), result.limit());
    out.printf(
        "Measured with %s, on %d of the texts: medians and ranges of rounds in turns with the full"
            + " model.%n",
        result.trained() ? "the model's exits" : "copies of the final head", result.timedTexts());
    out.println("speed-up             agreement  setting");
    for (Finding finding : result.findings()) {
      out.printf(
          "%-19s %7.1f %%  %s%n",
          result.busy().isPresent()
              ? "–"
              : "%.2f (%s)".formatted(finding.speedUp(), finding.spread()),
          100 * finding.agreement(),
          finding.setting().options());
    }
  }
}
