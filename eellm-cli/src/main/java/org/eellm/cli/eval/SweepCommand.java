package org.eellm.cli.eval;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import org.eellm.cli.eval.BeginningsOption.Beginnings;
import org.eellm.cli.eval.BeginningsOption.Sources;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.JsonOption;
import org.eellm.cli.option.LayerList;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.OutputPath;
import org.eellm.cli.option.WorkProgress;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.Gate;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.Limits;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.sweep.ComparedMethod;
import org.eellm.eval.sweep.MethodCompletions;
import org.eellm.eval.sweep.Sweep;
import org.eellm.eval.sweep.SweepConditions;
import org.eellm.eval.sweep.SweepGrid;
import org.eellm.eval.sweep.SweepPlot;
import org.eellm.eval.sweep.SweepRun;
import org.eellm.eval.sweep.SweepSetting;
import org.eellm.eval.sweep.SweepTable;
import org.eellm.eval.sweep.SweepTasks;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskFile;
import org.eellm.eval.task.TaskSpec;
import org.eellm.kernel.machine.Threads;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;

/** {@code eellm sweep}: what each way to decode gains, and what it changes. */
@Command(
    name = "sweep",
    description =
        "Measures many ways to decode, beside the full model, and finds the best;"
            + " docs/evaluate.md says how.")
public final class SweepCommand extends EellmCommand {
  private static final List<DecodingMode> MODES =
      List.of(DecodingMode.EARLY_EXIT, DecodingMode.RECOMPUTE, DecodingMode.SPECULATIVE);

  /** Share of the tokens that methods' thresholds keep by default. */
  private static final double LEAST_AGREEMENT = 0.95;

  /** Options that {@code --methods} takes the place of. */
  private static final Set<String> OF_GRID =
      Set.of(
          "--modes",
          "--policies",
          "--thresholds",
          "--calibration",
          "--exits",
          "--draft-exits",
          "--draft-lengths",
          "--draft-margins");

  /** Methods of {@code --code} by default. */
  private static final int METHODS = 100;

  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;
  @Mixin private JsonOption json;
  @Mixin private LimitOption limit;
  @Mixin private BeginningsOption beginnings;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description =
          "Folder for sweep.md, sweep.json, sweep.csv, sweep.png, a picture for each score and, ten"
              + " settings at a time, rows.jsonl; a sweep that was stopped goes on there. Of"
              + " several temperatures, batch sizes or contexts, a folder in it for each"
              + " combination, and sweep.csv for all.")
  private Path output;

  @Option(
      names = "--methods",
      split = ",",
      paramLabel = "METHOD",
      description =
          "In place of modes and their values: methods of papers, or all. Thresholds are the laxest"
              + " that keep --min-agreement of the tokens, 0.95 by default.")
  private List<String> methodNames = List.of();

  @Option(
      names = "--modes",
      split = ",",
      paramLabel = "MODE",
      description = "early-exit,recompute,speculative by default.")
  private List<DecodingMode> modes = MODES;

  @Option(
      names = "--policies",
      split = ",",
      paramLabel = "POLICY",
      description = "When tokens leave, for early-exit and recompute; max-probability by default.")
  private List<PolicyName> policies = List.of();

  @Option(
      names = "--thresholds",
      paramLabel = "LIST",
      description =
          "For policies with thresholds: 0.9,0.5, or first:last:step; 1.0:0.0:0.05 by default.")
  private Optional<String> thresholds;

  @Option(
      names = "--calibration",
      paramLabel = "FILE",
      description =
          "Also try what this file compares, as eellm calibrate --gate writes it, with each of the"
              + " thresholds.")
  private Optional<Path> calibration;

  @Mixin private PolicyNumbers numbers;

  @Option(
      names = "--exits",
      paramLabel = "LAYERS",
      description =
          "For early-exit and recompute: exits to use, as in 2,4; may be given several times. All"
              + " by default.")
  private List<String> exits = List.of();

  @Option(
      names = "--draft-exits",
      split = ",",
      paramLabel = "LAYER",
      description = "For speculative: exits that draft, in turn; each by default.")
  private List<Integer> draftExits = List.of();

  @Option(
      names = "--draft-lengths",
      split = ",",
      paramLabel = "N",
      description = "For speculative; 2,4,8 by default.")
  private List<Integer> draftLengths = List.of();

  @Option(
      names = "--draft-margins",
      split = ",",
      paramLabel = "X",
      description =
          "For speculative: the margin of the exit's choice below which a draft ends; 0.2,0.5 by"
              + " default.")
  private List<Double> draftMargins = List.of();

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Most tokens of each text; ${DEFAULT-VALUE} by default.")
  private int maxTokens;

  @Option(
      names = "--temperatures",
      split = ",",
      paramLabel = "X",
      description =
          "Draw the texts at these, with the same seeds for all settings; 0, greedily, by default.")
  private List<Double> temperatures = List.of();

  @Option(
      names = "--batch-sizes",
      split = ",",
      paramLabel = "N",
      description = "Write so many texts at a time; 1 by default.")
  private List<Integer> batchSizes = List.of();

  @Option(
      names = "--contexts",
      split = ",",
      paramLabel = "N",
      description =
          "Prompts of so many tokens: the last ones, behind others' where there are fewer; as they"
              + " are by default.")
  private List<Integer> contexts = List.of();

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "5",
      description =
          "Times that each speed is measured, of which the median counts; ${DEFAULT-VALUE} by"
              + " default.")
  private int rounds;

  @Option(
      names = "--tasks",
      split = ",",
      paramLabel = "TASK",
      description =
          "Tasks of eellm eval. Their answers are written, or their likelihoods taken from the"
              + " heads at which tokens leave, in every setting, and give scores.")
  private List<String> tasks = List.of();

  @Option(
      names = "--data",
      paramLabel = "DIR",
      description = "For --tasks: folder of the data sets.")
  private Optional<Path> data;

  @Mixin private SweepWishes wishes;

  /** The report of {@code --json}, also in {@code sweep.json}. */
  private record Report(
      String model,
      String dtype,
      int threads,
      Sweep sweep,
      List<SweepWishes.Pick> picks,
      List<SweepTable.Line> methods) {}

  /** What is measured, under whatever conditions. */
  private record Work(
      EvaluatedModel subject,
      Beginnings begun,
      List<ComparedMethod> methods,
      List<TaskSpec> tasks,
      WorkProgress progress) {}

  @Override
  public Integer call() throws IOException {
    validateOptions();
    Beginnings begun = beginnings.read(limit);
    Optional<Calibration> read =
        calibration.isPresent()
            ? Optional.of(Calibration.read(calibration.get()))
            : Optional.empty();
    List<TaskSpec> specs = tasks.stream().map(TaskFile::read).toList();
    List<ComparedMethod> methods = ComparedMethod.of(methodNames);
    List<SweepConditions> conditions = conditions();
    Files.createDirectories(output);
    return meshOptions.onFirstRank(
        spec,
        modelOptions,
        (model, engines) -> {
          read.ifPresent(
              file ->
                  Gate.requireModel(file.policy().gates(), model.decoder(), model.vocabulary()));
          try (Engine engine = model.engine(engines, Limits.BATCH_SIZE, Limits.MAX_PENDING);
              WorkProgress progress = WorkProgress.onConsole(err())) {
            EvaluatedModel subject = new EvaluatedModel(model, engine);
            sweep(new Work(subject, begun, methods, specs, progress), conditions);
          }
        });
  }

  private void sweep(Work work, List<SweepConditions> all) throws IOException {
    LoadedModel model = work.subject().model();
    List<Integer> exits = work.subject().exits();
    if (exits.isEmpty() && work.methods().isEmpty()) {
      throw new EvalException(
          model.folder() + ": the model has no exits to measure; add some with add-exits");
    }
    for (SweepConditions conditions : all) {
      if (conditions.context() > work.subject().context() - maxTokens) {
        throw new ConfigException(
            "--contexts: %d and %d tokens behind it are beyond the model's %d positions; use %d or less"
                .formatted(
                    conditions.context(),
                    maxTokens,
                    work.subject().context(),
                    work.subject().context() - maxTokens));
      }
    }
    List<SweepTable.Line> lines = lines(work, all.getFirst().ofChoice());
    List<SweepSetting> settings =
        work.methods().isEmpty()
            ? grid(exits).settings(model.decoder().allHeads())
            : lines.stream().flatMap(line -> line.setting().stream()).toList();
    if (settings.isEmpty()) {
      throw new EvalException("--methods: " + lines.getFirst().note());
    }
    StringBuilder csv = new StringBuilder();
    List<Sweep> sweeps = new ArrayList<>();
    for (SweepConditions conditions : all) {
      Path folder = all.size() == 1 ? output : output.resolve(conditions.name());
      Sweep sweep = measure(work, settings, conditions, folder);
      String rows = report(folder, report(model, sweep, lines));
      csv.append(sweeps.isEmpty() ? rows : rows.substring(rows.indexOf('\n') + 1));
      Files.writeString(output.resolve("sweep.csv"), csv);
      sweeps.add(sweep);
    }
    for (Sweep sweep : sweeps) {
      if (!sweep.failures().isEmpty()) {
        throw new EvalException(
            "%d of %d settings failed: sweep.md in %s says why"
                .formatted(sweep.failures().size(), settings.size(), output),
            sweep.failures().getFirst().cause());
      }
    }
  }

  /** What the full model goes on from, and what gives scores where it is code. */
  private record Begun(List<List<Integer>> prompts, Optional<SweepTasks> scores) {}

  private Begun begin(Work work, SweepConditions conditions) {
    EvaluatedModel subject = work.subject();
    if (work.begun() instanceof Sources sources) {
      MethodCompletions methods =
          sources.methods(subject, limit.items().orElse(METHODS), maxTokens, conditions);
      return new Begun(methods.prompts(), Optional.of(methods));
    }
    List<List<Integer>> prompts = work.begun().tokens(subject, METHODS, maxTokens);
    return new Begun(conditions.prompts(prompts, subject.bosTokens()), Optional.empty());
  }

  private SweepRun run(Work work, List<List<Integer>> prompts, SweepConditions conditions) {
    LoadedModel model = work.subject().model();
    Function<List<Request>, List<Result>> generator =
        meshOptions.isAlone()
            ? requests -> model.generate(requests, conditions.batchSize())
            : work.subject()::runOneByOne;
    return new SweepRun(
        generator, work.subject().exits(), model.endTokens(), prompts, maxTokens, conditions);
  }

  private Sweep measure(
      Work work, List<SweepSetting> settings, SweepConditions conditions, Path folder) {
    Begun begun = begin(work, conditions);
    SweepTasks scored =
        work.tasks().isEmpty()
            ? begun.scores().orElseGet(SweepTasks::none)
            : SweepTasks.of(
                work.subject(),
                work.tasks(),
                new TaskData(data.orElseThrow(), limit.itemsOrAll(), EvalCommand.SEED),
                modelOptions.variant(),
                output.resolve("tasks"),
                work.progress());
    return run(work, begun.prompts(), conditions)
        .measure(
            settings,
            rounds,
            folder.resolve("rows.jsonl"),
            about(work.subject().model()),
            scored,
            work.progress());
  }

  /** Methods' settings, by what the full model writes under some conditions. */
  private List<SweepTable.Line> lines(Work work, SweepConditions conditions) {
    if (work.methods().isEmpty()) {
      return List.of();
    }
    List<GreedyContinuation> texts =
        run(work, begin(work, conditions).prompts(), conditions).texts();
    return work.methods().stream().map(method -> line(method, work.subject(), texts)).toList();
  }

  /** A method's setting for a model, or what it lacks. */
  private SweepTable.Line line(
      ComparedMethod method, EvaluatedModel subject, List<GreedyContinuation> texts) {
    if (!method.need().isMetBy(subject.model())) {
      return SweepTable.Line.without(
          method, "skipped: the model lacks what %s makes".formatted(method.need().command()));
    }
    return SweepTable.Line.of(
        method,
        method.setting(subject, texts, wishes.minAgreement().orElse(LEAST_AGREEMENT)),
        subject.model());
  }

  private String about(LoadedModel model) {
    return "%s, %s, %s, %s, %d threads%s, medians beyond the full model's first token, code %s, tasks %s of %s, limit %s%s"
        .formatted(
            model.folder(),
            modelOptions.variant(),
            modelOptions.device(),
            model.architecture().model().dtype(),
            Threads.count(),
            meshOptions.variant(),
            beginnings.isCode() ? beginnings.file().orElseThrow() : "none",
            tasks,
            data.map(Path::toString).orElse("nothing"),
            limit.items().stream().mapToObj(String::valueOf).findFirst().orElse("none"),
            calibration.map(SweepCommand::contents).orElse(""));
  }

  /** Of a calibration: with other ones, figures are others. */
  private static String contents(Path calibration) {
    try {
      return ", calibration " + Calibration.read(calibration);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Report report(LoadedModel model, Sweep sweep, List<SweepTable.Line> methods) {
    return new Report(
        model.folder().toString(),
        model.architecture().model().dtype().toString(),
        Threads.count(),
        sweep,
        wishes.picks(sweep),
        methods);
  }

  /** Writes and prints what was measured; returns the rows as CSV. */
  private String report(Path folder, Report report) throws IOException {
    Sweep sweep = report.sweep();
    SweepTable table =
        report.methods().isEmpty() ? SweepTable.of(sweep) : new SweepTable(sweep, report.methods());
    String markdown = table.markdown();
    StringWriter line = new StringWriter();
    JsonOption.print(new PrintWriter(line), report);
    Files.writeString(folder.resolve("sweep.json"), line.toString());
    Files.writeString(folder.resolve("sweep.md"), markdown);
    if (sweep.trusted()) {
      SweepPlot.write(table, folder.resolve("sweep.png"));
      SweepPlot.writeScores(table, folder);
    }
    if (json.requested()) {
      JsonOption.print(out(), report);
    } else {
      out().print(markdown);
      report.picks().forEach(pick -> out().println(pick.line()));
      out().flush();
    }
    return table.csv();
  }

  private List<SweepConditions> conditions() {
    return SweepConditions.all(
        temperatures.isEmpty() ? List.of(0.0) : temperatures,
        batchSizes.isEmpty() ? List.of(1) : batchSizes,
        contexts.isEmpty() ? List.of(0) : contexts);
  }

  private SweepGrid grid(List<Integer> available) {
    return new SweepGrid(
        modes,
        policies.isEmpty() ? List.of(PolicyName.MAX_PROBABILITY) : policies,
        NumberList.parse("--thresholds", thresholds.orElse("1.0:0.0:0.05")),
        calibration.map(Path::toString),
        numbers.values(),
        exits.isEmpty()
            ? List.of(List.of())
            : exits.stream().map(text -> LayerList.parse("--exits", text, available)).toList(),
        draftExits,
        draftLengths.isEmpty() ? SweepGrid.DRAFT_LENGTHS : draftLengths,
        draftMargins.isEmpty() ? SweepGrid.DRAFT_MARGINS : draftMargins);
  }

  private void validateOptions() {
    if (!methodNames.isEmpty()) {
      for (OptionSpec option : spec.commandLine().getParseResult().matchedOptions()) {
        String name = option.longestName();
        if (OF_GRID.contains(name)) {
          throw new ConfigException(name + " has no effect with --methods; leave it out");
        }
      }
      if (!meshOptions.isAlone()) {
        throw new ConfigException("--methods: needs a single rank; leave out --tp and --pp");
      }
    }
    if (!meshOptions.isAlone() && !batchSizes.isEmpty()) {
      throw new ConfigException("--batch-sizes: needs a single rank; leave out --tp and --pp");
    }
    if (maxTokens < 2 || rounds < 1) { // what is timed comes behind the first token
      throw new ConfigException(
          "--max-tokens, --rounds: %d, %d; use at least 2 and at least 1"
              .formatted(maxTokens, rounds));
    }
    OutputPath.requireFolder("--output", output);
    wishes.require();
    boolean leaves = modes.stream().anyMatch(DecodingMode::leavesEarly);
    boolean drafts = modes.contains(DecodingMode.SPECULATIVE);
    refuse(!leaves && !policies.isEmpty(), "--policies", "early-exit, recompute or propagate");
    refuse(!leaves && thresholds.isPresent(), "--thresholds", "early-exit, recompute or propagate");
    refuse(!leaves && !exits.isEmpty(), "--exits", "early-exit, recompute or propagate");
    refuse(
        !leaves && calibration.isPresent(), "--calibration", "early-exit, recompute or propagate");
    refuse(!drafts && !draftExits.isEmpty(), "--draft-exits", "speculative");
    refuse(!drafts && !draftLengths.isEmpty(), "--draft-lengths", "speculative");
    refuse(!drafts && !draftMargins.isEmpty(), "--draft-margins", "speculative");
    if (thresholds.isPresent()
        && calibration.isEmpty()
        && !policies.isEmpty()
        && policies.stream().allMatch(policy -> policy.thresholdRule().isEmpty())) {
      throw new ConfigException(
          "--thresholds has no effect without one of %s among --policies; leave it out"
              .formatted(PolicyName.listed(PolicyName.withThreshold(), "and")));
    }
    numbers.require(policies);
    if (tasks.isEmpty() != data.isEmpty()) {
      throw new ConfigException("--tasks and --data go together; give both or neither");
    }
    if (!beginnings.isGiven() || !tasks.isEmpty() && beginnings.isCode()) {
      throw new ConfigException(
          "--prompts, --code: give prompts, with --tasks or without, or sources and neither");
    }
    beginnings.require(limit);
  }

  private static void refuse(boolean condition, String option, String modes) {
    if (condition) {
      throw new ConfigException(
          "%s has no effect without %s among --modes; leave it out".formatted(option, modes));
    }
  }
}
