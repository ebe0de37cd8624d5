package org.eellm.cli;

import static java.util.function.Predicate.not;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Optional;
import java.util.Random;
import java.util.SequencedMap;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Stream;
import org.eellm.checkpoint.DraftTable;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.checkpoint.ExamplePrompts;
import org.eellm.cli.eval.ThresholdTable;
import org.eellm.cli.generate.CompletedMethods;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.Usage;
import org.eellm.cli.option.WorkProgress;
import org.eellm.cli.train.RunOptions;
import org.eellm.config.ConfigException;
import org.eellm.config.ConfigFile;
import org.eellm.config.DataConfig;
import org.eellm.config.DataConfig.Source;
import org.eellm.config.DataType;
import org.eellm.config.RunConfig;
import org.eellm.config.TrainConfig;
import org.eellm.config.TrainConfig.Device;
import org.eellm.data.Preparation;
import org.eellm.data.corpus.Corpus;
import org.eellm.data.corpus.JavaSources;
import org.eellm.data.tokenizer.BpeTrainer;
import org.eellm.data.tokenizer.Tokenizer;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.Limits;
import org.eellm.decode.speculate.DraftTables;
import org.eellm.distributed.World;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.GateFit;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.JavaMethods;
import org.eellm.eval.sweep.Sweep;
import org.eellm.eval.sweep.SweepPlot;
import org.eellm.eval.sweep.SweepRun;
import org.eellm.eval.sweep.SweepSetting;
import org.eellm.eval.sweep.SweepTable;
import org.eellm.kernel.machine.Threads;
import org.eellm.tensor.DeviceThroughput;
import org.eellm.tensor.Torch;
import org.eellm.train.LocalReplicas;
import org.eellm.train.RunFolder;
import org.eellm.train.Trainer;
import org.eellm.train.Trainer.Outcome;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/**
 * {@code eellm quickstart}: the whole way from text to early exits, in minutes. Java sources of
 * well-known libraries become tokens, a small model with two exits learns to write such code,
 * completes methods of a library that it never saw, and is measured.
 */
@Command(
    name = "quickstart",
    description =
        "Train a small model with early exits on Java sources, let it complete methods of a library"
            + " it never saw, and measure what the exits gain. Takes three to twenty minutes on two"
            + " cores.")
final class QuickstartCommand extends EellmCommand {
  private static final String REPORT = "quickstart.json";
  private static final int VOCAB_SIZE = 4096;
  private static final double RATE_SECONDS = 0.2;

  private static final List<Double> THRESHOLDS = List.of(0.9, 0.7, 0.5, 0.4, 0.3, 0.2);

  /** Of the gates' confidence. */
  private static final List<Double> GATE_THRESHOLDS = List.of(0.95, 0.9, 0.8);

  /** Of a completion. */
  private static final int MAX_TOKENS = 128;

  /** Of what is before a method's body; with the completion they fit the model's positions. */
  private static final int PROMPT_TOKENS = 128;

  /** Ids that exits draft from: a quarter of all. */
  private static final int DRAFT_VOCABULARY = 1024;

  /** Methods after whose beginnings the model writes what ids are counted on, and gates fitted. */
  private static final int OWN_METHODS = 96;

  private static final int SHOWN_METHODS = 4;

  private static final int METHODS_PER_FILE = 2;

  /** For the server's page: short beginnings of what the model has learned to write. */
  private static final ExamplePrompts PROMPTS =
      new ExamplePrompts(
          List.of(
              "public static boolean isBlank(final CharSequence text) {",
              "public class Circle {",
              "/**\n * Returns the larger of two numbers.\n */\npublic static int max("));

  /** Of a body, from the opening brace to the closing one. */
  private static final int LEAST_LINES = 4;

  @Mixin private JsonOption json;

  @Option(
      names = "--output",
      paramLabel = "DIR",
      defaultValue = "runs/quickstart",
      description = "Folder for all that comes of it (default: ${DEFAULT-VALUE}).")
  private Path output;

  @Option(
      names = "--set",
      paramLabel = "SECTION.KEY=VALUE",
      description = "Override a setting of configs/quickstart.yaml, as in --set train.steps=500.")
  private List<String> overrides = List.of();

  @Option(
      names = "--methods",
      paramLabel = "N",
      defaultValue = "16",
      description = "Methods of the held-out library to measure on (default: ${DEFAULT-VALUE}).")
  private int methodCount;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "5",
      description =
          "Times that each threshold's speed is measured, of which the median counts (default:"
              + " ${DEFAULT-VALUE}).")
  private int rounds;

  /** The report of {@code --json}, also in {@code quickstart.json}. */
  private record Report(
      String model,
      DataType dtype,
      int threads,
      double seconds,
      SequencedMap<String, Object> evaluation,
      List<CompletedMethods.Completed> methods,
      Sweep sweep) {}

  @Override
  public Integer call() throws IOException {
    long start = System.nanoTime();
    Usage.requireAtLeast(spec, 1, methodCount, "--methods");
    Usage.requireAtLeast(spec, 1, rounds, "--rounds");
    Optional<RunConfig> unfinished = unfinished();
    RunConfig config =
        unfinished.map(run -> config(_ -> run.model().dtype())).orElseGet(this::config);
    stage(1, "Java sources become tokens");
    JavaSources sources = JavaSources.in(sources());
    prepare(sources);
    stage(2, unfinished.isPresent() ? "training goes on" : "training");
    boolean goesOn = unfinished.isPresent();
    RunConfig shared =
        goesOn ? LocalReplicas.sharingAs(output, config) : LocalReplicas.sharing(config);
    Outcome outcome = LocalReplicas.run(shared, world -> train(shared, goesOn, world));
    if (!outcome.finished()) {
      say("stopped after step %,d; the same command goes on".formatted(outcome.step()));
      return ExitCode.OK;
    }
    try (LoadedModel loaded = LoadedModel.load(output, config.train().device())) {
      List<GreedyContinuation> own = ownTexts(loaded, sources);
      LoadedModel model = withDraftVocabulary(loaded.withDrafts(draftTable(loaded)), own);
      writeGates(model, own);
      PROMPTS.write(model.folder());
      stage(3, "completing methods of a library that the model never saw");
      List<JavaMethods.Method> methods = methods(sources.heldOutFiles(), methodCount);
      CompletedMethods completed =
          new CompletedMethods(
              model,
              methods.subList(0, Math.min(SHOWN_METHODS, methods.size())),
              DecodingMethod.lossless(),
              PROMPT_TOKENS,
              MAX_TOKENS);
      if (!json.requested()) {
        completed.print(out());
      }
      stage(4, "measuring what exits gain");
      SweepRun run =
          new SweepRun(
              model::generate,
              model.architecture().exits().layers(),
              model.endTokens(),
              prompts(model, methods),
              MAX_TOKENS);
      Sweep sweep;
      try (WorkProgress progress = WorkProgress.onConsole(err())) {
        sweep = run.measure(settings(model), rounds, progress);
      }
      if (sweep.trusted()) {
        SweepPlot.write(SweepTable.of(sweep), output.resolve("tradeoff.png"));
      }
      Report report =
          new Report(
              output.toString(),
              model.architecture().model().dtype(),
              Torch.threads(),
              (System.nanoTime() - start) / 1e9,
              outcome.evaluation().map(Evaluation::values).orElseGet(LinkedHashMap::new),
              completed.list(),
              sweep);
      StringWriter text = new StringWriter();
      JsonOption.print(new PrintWriter(text), report);
      Files.writeString(output.resolve(REPORT), text.toString());
      print(report);
    }
    return ExitCode.OK;
  }

  /**
   * The run in the output folder, if it is a quickstart's that was interrupted.
   *
   * @throws ConfigException if there is anything in the folder that we may not write over
   */
  private Optional<RunConfig> unfinished() throws IOException {
    if (Files.exists(output.resolve(REPORT))) {
      throw refusal("holds a finished quickstart");
    }
    Path file = output.resolve("config.yaml");
    if (Files.exists(file)) {
      RunConfig run = ConfigFile.read(file, List.of());
      if (!run.data().sources().equals(List.of(Source.of(dataset().toString())))) {
        throw refusal("holds another run");
      }
      return Optional.of(run);
    }
    if (Files.isDirectory(output)) {
      try (Stream<Path> children = Files.list(output)) {
        if (children.anyMatch(not(RunFolder.data(output)::equals))) {
          throw refusal("is not empty");
        }
      }
    }
    return Optional.empty();
  }

  private ConfigException refusal(String why) {
    return new ConfigException(
        "--output %s: %s; remove that folder, or give another one".formatted(output, why));
  }

  /**
   * The preset with this folder's data, in the format asked for, or the one that is faster here.
   */
  private RunConfig config() {
    boolean asked = overrides.stream().anyMatch(setting -> setting.startsWith("model.dtype="));
    return config(given -> asked ? given.model().dtype() : fastest(given.train()));
  }

  /**
   * The preset with this folder's data.
   *
   * @param dtype number format to compute in
   */
  private RunConfig config(Function<RunConfig, DataType> dtype) {
    RunConfig given = ConfigFile.preset("quickstart", overrides);
    DataConfig data = given.data();
    if (!data.sources().isEmpty() || !data.validation().isEmpty() || data.tokenizer().isPresent()) {
      throw new ConfigException(
          "--set data: quickstart brings its own text and tokenizer; use eellm train for others");
    }
    int positions = given.model().maxPositions();
    if (positions < PROMPT_TOKENS + MAX_TOKENS) {
      throw new ConfigException(
          "--set model.max_positions: %d have no room for the %d tokens of a method and what is before it; use more"
              .formatted(positions, PROMPT_TOKENS + MAX_TOKENS));
    }
    List<String> settings = new ArrayList<>();
    settings.add("model.dtype=" + dtype.apply(given).name().toLowerCase(Locale.ROOT));
    settings.addAll(overrides);
    settings.add("data.sources=[" + quoted(dataset()) + "]");
    settings.add("data.tokenizer=" + quoted(Preparation.tokenizerFolder(dataset())));
    return ConfigFile.preset("quickstart", settings);
  }

  /**
   * Bfloat16 takes half the time of float32 where a processor knows it, and many times as long
   * elsewhere.
   */
  private static DataType fastest(TrainConfig train) {
    if (train.device() == Device.CUDA) {
      return DataType.BFLOAT16;
    }
    Torch.setThreads(train.threads());
    DeviceThroughput.Measured rates = DeviceThroughput.ofCpu(RATE_SECONDS);
    return rates.bfloat16() > rates.float32() ? DataType.BFLOAT16 : DataType.FLOAT32;
  }

  /** A path as a string of YAML. */
  private static String quoted(Path path) {
    return "'" + path.toString().replace("'", "''") + "'";
  }

  private Path dataset() {
    return RunFolder.data(output).resolve("java");
  }

  /** Makes the dataset and its tokenizer, unless they are there. */
  private void prepare(JavaSources sources) throws IOException {
    if (Files.exists(dataset().resolveSibling("java.idx"))) {
      return;
    }
    Files.createDirectories(RunFolder.data(output));
    int threads = Threads.all();
    Corpus corpus = sources.corpus();
    try (WorkProgress progress = WorkProgress.onConsole(err())) {
      Tokenizer tokenizer = BpeTrainer.train(corpus, VOCAB_SIZE, threads, progress);
      Preparation.run(corpus, tokenizer, dataset(), threads, progress);
    }
  }

  private Outcome train(RunConfig config, boolean goesOn, World world) {
    try (Trainer trainer =
        goesOn
            ? Trainer.resume(config, output, world, false)
            : Trainer.start(config, output, world, false)) {
      return world.rank() == 0
          ? RunOptions.watch(trainer, err())
          : trainer.run(MetricsSink.none(), () -> false);
    }
  }

  /** Where the build puts the sources: in the folder {@code target} of the whole project. */
  private static Path sources() {
    try {
      var location = QuickstartCommand.class.getProtectionDomain().getCodeSource().getLocation();
      Path classes = Path.of(location.toURI());
      return Stream.iterate(classes.getParent(), Objects::nonNull, Path::getParent)
          .flatMap(
              folder ->
                  Stream.of(folder.resolve("java-sources"), folder.resolve("target/java-sources")))
          .filter(Files::isDirectory)
          .findFirst()
          .orElse(classes.resolveSibling("java-sources"));
    } catch (URISyntaxException e) {
      throw new IllegalStateException("the place of eellm's classes is no path", e);
    }
  }

  /** A table of drafts, counted in the text that the model learned from. */
  private DraftTable draftTable(LoadedModel model) {
    return DraftTables.count(dataset(), model.vocabulary().size(), DraftTable.PAIRS);
  }

  /** The model's continuations of methods that it has learned from. */
  private static List<GreedyContinuation> ownTexts(LoadedModel model, JavaSources sources) {
    try (Engine engine = model.engine(Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
      return GreedyContinuation.write(
          new EvaluatedModel(model, engine),
          prompts(model, methods(sources.trainingFiles(), OWN_METHODS)),
          MAX_TOKENS);
    }
  }

  /** Lets the exits draft from what the model writes most often. */
  private static LoadedModel withDraftVocabulary(LoadedModel model, List<GreedyContinuation> own)
      throws IOException {
    List<List<Integer>> written = own.stream().map(GreedyContinuation::continuation).toList();
    int vocabSize = model.vocabulary().size();
    int size = Math.min(DRAFT_VOCABULARY, vocabSize);
    return model.withDrafts(DraftVocabulary.count(written, size, vocabSize));
  }

  /** Fits gates to what exits say of the model's own texts. */
  private void writeGates(LoadedModel model, List<GreedyContinuation> own) throws IOException {
    SortedMap<Integer, Gate> gates;
    try (Engine engine = model.engine(Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
      gates = GateFit.fit(new EvaluatedModel(model, engine), own);
    }
    SortedMap<Integer, Double> thresholds = new TreeMap<>();
    gates.keySet().forEach(layer -> thresholds.put(layer, GATE_THRESHOLDS.getFirst()));
    new Calibration(new Calibration.OfGates(gates), thresholds).write(model.calibrationFile());
  }

  /** Some methods that are long enough to complete; always the same ones. */
  private static List<JavaMethods.Method> methods(List<String> files, int count) {
    List<String> mixed = new ArrayList<>(files);
    Collections.shuffle(mixed, new Random(0));
    List<JavaMethods.Method> methods = new ArrayList<>();
    for (int i = 0; i < mixed.size() && methods.size() < count; i++) {
      List<JavaMethods.Method> here =
          JavaMethods.of(mixed.get(i)).stream()
              .filter(method -> method.body().lines().count() >= LEAST_LINES)
              .toList();
      // A few of each file, from all over it.
      for (int k = 0; k < Math.min(METHODS_PER_FILE, here.size()); k++) {
        methods.add(here.get(k * here.size() / METHODS_PER_FILE));
      }
    }
    return methods.subList(0, Math.min(count, methods.size()));
  }

  private static List<List<Integer>> prompts(LoadedModel model, List<JavaMethods.Method> methods) {
    return methods.stream()
        .map(method -> CompletedMethods.prompt(model, method, PROMPT_TOKENS))
        .toList();
  }

  private List<SweepSetting> settings(LoadedModel model) {
    List<SweepSetting> settings = new ArrayList<>(List.of(SweepSetting.adaptiveDrafts()));
    THRESHOLDS.forEach(value -> settings.add(SweepSetting.atThreshold(value)));
    String gates = model.calibrationFile().toString();
    GATE_THRESHOLDS.forEach(
        value -> settings.add(SweepSetting.calibrated(DecodingMode.EARLY_EXIT, gates, value)));
    return settings;
  }

  private void print(Report report) {
    PrintWriter out = out();
    if (json.requested()) {
      JsonOption.print(out, report);
      return;
    }
    ThresholdTable.print(out, report.sweep());
    String folder = shellWord(output);
    String longer = shellWord(output.resolveSibling(output.getFileName() + "-longer"));
    out.printf(
        """

        In %s: checkpoints, config.yaml, metrics.jsonl, %s, loss.png%s
        Took %.0f s. Next, for example:
          ./eellm generate --model %s --prompt "public static boolean isBlank(final CharSequence text) {"
          ./eellm generate --model %s --prompt "public class Circle {" --mode early-exit
          ./eellm train --config %s/config.yaml --set train.steps=5000 --output %s
        """,
        output,
        REPORT,
        report.sweep().trusted() ? ", tradeoff.png" : "",
        report.seconds(),
        folder,
        folder,
        folder,
        longer);
  }

  /** A path as a shell reads it. */
  private static String shellWord(Path path) {
    String text = path.toString();
    return text.matches("[\\w./-]+") ? text : "'" + text.replace("'", "'\\''") + "'";
  }

  private void stage(int number, String text) {
    say(number + "/4  " + text);
  }

  private void say(String text) {
    err().println(text);
  }
}
