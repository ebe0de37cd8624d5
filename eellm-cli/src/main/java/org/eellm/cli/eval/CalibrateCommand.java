package org.eellm.cli.eval;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.function.DoubleFunction;
import org.eellm.checkpoint.DraftVocabulary;
import org.eellm.cli.eval.BeginningsOption.Beginnings;
import org.eellm.cli.eval.BeginningsOption.Lines;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.OutputPath;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.exit.PolicyName;
import org.eellm.decode.request.Limits;
import org.eellm.eval.EvalException;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.GateFit;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.LearnThenTest;
import org.eellm.eval.ReliabilityPlot;
import org.eellm.eval.Temperatures;
import org.eellm.eval.sweep.AnswerLosses;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskFile;
import org.eellm.eval.task.TaskSpec;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm calibrate}: the lowest threshold that keeps a guarantee about the text. */
@Command(
    name = "calibrate",
    description =
        "Finds the lowest threshold at which tokens, texts or answers, in all likelihood, are as"
            + " good as the full model's; docs/exits.md says how.")
public final class CalibrateCommand extends EellmCommand {
  private static final int MAX_TOKENS = 64;

  /** Methods of {@code --code} by default. */
  private static final int METHODS = 240;

  /** Of thresholds, where tokens are compared; those of texts, which take long, are coarser. */
  private static final int STEPS = 100;

  private static final int STEPS_OF_TEXTS = 20;

  /** One of so many prompts serves for temperatures, and not for the guarantee. */
  private static final int PART_FOR_TEMPERATURES = 4;

  /** One of so many prompts serves for gates, which have many weights. */
  private static final int PART_FOR_GATES = 2;

  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;
  @Mixin private LimitOption limit;
  @Mixin private BeginningsOption beginnings;

  @Option(
      names = "--output",
      paramLabel = "FILE",
      description =
          "File to write, for --calibration; by default calibration.json beside the exits, which"
              + " early-exit decoding takes by itself.")
  private Optional<Path> output;

  @Option(
      names = "--task",
      paramLabel = "TASK",
      description =
          "What the guarantee is of, in place of the share of tokens that differ from the full"
              + " model's: how much lower than its an answer's score is, by the first metric of"
              + " this task of eellm eval.")
  private Optional<String> task;

  @Option(names = "--data", paramLabel = "DIR", description = "For --task: folder of the data set.")
  private Optional<Path> data;

  @Option(
      names = "--temperatures",
      description =
          "Fit a temperature to each exit, with a quarter of the prompts (all, with --task); the"
              + " policy sees the exits at these.")
  private boolean fitsTemperatures;

  @Option(
      names = "--gate",
      description =
          "In place of --policy and --temperatures: fit a gate to each exit, with half of the"
              + " prompts (all, with --task). It decides by a short list of ids, which"
              + " --draft-vocabulary makes, those of the text's last tokens, and the hidden state.")
  private boolean fitsGates;

  @Option(
      names = "--picture",
      paramLabel = "FILE",
      description = "PNG file for the exits' reliability diagrams.")
  private Optional<Path> picture;

  @Option(
      names = "--delta",
      paramLabel = "X",
      defaultValue = "0.05",
      description = "The loss promised, on average over texts; ${DEFAULT-VALUE} by default.")
  private double delta;

  @Option(
      names = "--epsilon",
      paramLabel = "X",
      defaultValue = "0.05",
      description =
          "Probability with which the guarantee may fail, over the draw of the prompts;"
              + " ${DEFAULT-VALUE} by default.")
  private double epsilon;

  @Option(
      names = "--policy",
      paramLabel = "POLICY",
      description = "${bundle:policy.to-calibrate}; max-probability by default.")
  private Optional<PolicyName> policy;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "Most tokens of each prompt's text; 64 by default.")
  private Optional<Integer> maxTokens;

  @Option(
      names = "--draft-vocabulary",
      paramLabel = "N",
      description =
          "Also let exits draft, and gates decide, from the N ids that the model writes most often"
              + " after the prompts; draft_vocabulary.json in the model's folder keeps them.")
  private Optional<Integer> draftVocabulary;

  @Option(
      names = "--splits",
      paramLabel = "N",
      defaultValue = "100",
      description =
          "Also calibrate on N random halves of the prompts, and tell on how many of the other"
              + " halves the guarantee was broken; ${DEFAULT-VALUE} by default.")
  private int splits;

  /**
   * The loss that the guarantee keeps below delta.
   *
   * @param words for it
   * @param steps of thresholds
   */
  private record Guarantee(String words, int steps, Losses losses) {}

  /** Each text's loss at a threshold. */
  @FunctionalInterface
  private interface Losses {
    DoubleFunction<double[]> of(
        EvaluatedModel subject, ExitTrace trace, DoubleFunction<Calibration> calibrations);
  }

  @Override
  public Integer call() throws IOException {
    validateOptions();
    Guarantee guarantee = guarantee();
    LearnThenTest test =
        fitsGates
            ? LearnThenTest.inLogOdds(delta, epsilon, guarantee.steps())
            : LearnThenTest.inSteps(delta, epsilon, guarantee.steps());
    Beginnings read = beginnings.read(limit);
    if (task.isEmpty() && read instanceof Lines(List<String> lines)) { // not to load in vain
      requireEnoughBeginnings(lines.size(), test);
    }
    return meshOptions.onFirstRank(
        spec, modelOptions, (model, engines) -> calibrate(guarantee, test, read, model, engines));
  }

  private int tokens() {
    return maxTokens.orElse(MAX_TOKENS);
  }

  private void requireEnoughBeginnings(int count, LearnThenTest test) {
    int minTexts = test.minTexts();
    while (minTexts - forFitting(minTexts) < test.minTexts()) {
      minTexts++;
    }
    requireEnough(beginnings.file().orElseThrow().toString(), count, minTexts);
  }

  private void calibrate(
      Guarantee guarantee,
      LearnThenTest test,
      Beginnings read,
      LoadedModel model,
      EngineStarter engines)
      throws IOException {
    requireFittable(model);
    List<GreedyContinuation> texts;
    int fitted;
    LoadedModel listed = model;
    try (Engine engine = model.engine(engines, Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
      EvaluatedModel subject = new EvaluatedModel(model, engine);
      List<List<Integer>> begun = read.tokens(subject, limit.items().orElse(METHODS), tokens());
      if (task.isEmpty()) {
        requireEnoughBeginnings(begun.size(), test);
      }
      fitted = forFitting(begun.size());
      texts = GreedyContinuation.write(subject, begun, tokens());
      if (draftVocabulary.isPresent()) {
        int counted = fitsGates && fitted > 0 ? fitted : texts.size(); // the list is fitted, too
        listed = model.withDrafts(draftVocabulary(model, texts.subList(0, counted)));
      }
      if (!fitsGates || draftVocabulary.isEmpty()) {
        calibrate(guarantee, test, texts, fitted, subject);
        return;
      }
    }
    try (Engine engine = listed.engine(engines, Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
      calibrate(guarantee, test, texts, fitted, new EvaluatedModel(listed, engine));
    }
  }

  private void requireFittable(LoadedModel model) {
    if (model.architecture().exits().layers().isEmpty()) {
      throw new EvalException(
          model.folder() + ": the model has no exits to calibrate; add some with add-exits");
    }
    if (output.isEmpty() && !Files.isWritable(model.files().calibrationFolder())) {
      throw new ConfigException(
          "--output: %s cannot be written; give a file".formatted(model.calibrationFile()));
    }
    if (fitsGates && draftVocabulary.isEmpty() && model.vocabulary().draftIds().isEmpty()) {
      throw new ConfigException(
          "--gate: %s has no short list of tokens; make one with --draft-vocabulary 1024"
              .formatted(model.folder()));
    }
  }

  /** Calibrates with the full model's texts; the first ones may not serve for the guarantee. */
  private void calibrate(
      Guarantee guarantee,
      LearnThenTest test,
      List<GreedyContinuation> texts,
      int fitted,
      EvaluatedModel subject)
      throws IOException {
    Calibration.Rule rule = rule(subject, task.isPresent() ? texts : texts.subList(0, fitted));
    Calibration.Rule untempered =
        fitsTemperatures ? new Calibration.OfPolicy(policy(), new TreeMap<>()) : rule;
    List<GreedyContinuation> others = texts.subList(fitted, texts.size());
    ExitTrace plain = ExitTrace.of(subject, others, untempered);
    ExitTrace trace = rule.equals(untempered) ? plain : ExitTrace.of(subject, others, rule);
    DoubleFunction<Calibration> calibrations =
        threshold -> {
          TreeMap<Integer, Double> thresholds = new TreeMap<>();
          subject.exits().forEach(layer -> thresholds.put(layer, threshold));
          return new Calibration(rule, thresholds);
        };
    DoubleFunction<double[]> losses = guarantee.losses().of(subject, trace, calibrations);
    if (task.isPresent()) {
      requireEnough(task.get(), losses.apply(test.thresholds().getFirst()).length, test.minTexts());
    }
    reportExits(plain, trace, rule);
    picture.ifPresent(file -> ReliabilityPlot.write(plain, trace, file));
    report(guarantee, subject, trace, test, losses, calibrations);
  }

  private Calibration.Rule rule(EvaluatedModel subject, List<GreedyContinuation> texts) {
    if (fitsGates) {
      return new Calibration.OfGates(GateFit.fit(subject, texts));
    }
    return new Calibration.OfPolicy(
        policy(), fitsTemperatures ? Temperatures.fit(subject, texts) : new TreeMap<>());
  }

  private PolicyName policy() {
    return policy.orElse(PolicyName.MAX_PROBABILITY);
  }

  private DraftVocabulary draftVocabulary(LoadedModel model, List<GreedyContinuation> texts) {
    List<List<Integer>> written = texts.stream().map(GreedyContinuation::continuation).toList();
    return DraftVocabulary.count(written, draftVocabulary.orElseThrow(), model.vocabulary().size());
  }

  private void reportExits(ExitTrace plain, ExitTrace trace, Calibration.Rule rule) {
    PrintWriter out = out();
    SortedMap<Integer, Double> temperatures =
        switch (rule) {
          case Calibration.OfPolicy(PolicyName _, SortedMap<Integer, Double> fitted) -> fitted;
          case Calibration.OfGates _ -> new TreeMap<>();
        };
    if (plain.tokens() == 0) {
      return;
    }
    for (int i = 0; i < plain.exits().size(); i++) {
      int layer = plain.exits().get(i);
      out.printf(
          "exit %d: agrees on %.1f %% of %,d tokens, expected calibration error %.3f%s%n",
          layer,
          100 * plain.agreement(i),
          plain.tokens(),
          plain.calibrationError(i),
          temperatures.containsKey(layer)
              ? ", %.3f at temperature %.2f"
                  .formatted(trace.calibrationError(i), temperatures.get(layer))
              : "");
    }
  }

  private void report(
      Guarantee guarantee,
      EvaluatedModel subject,
      ExitTrace trace,
      LearnThenTest test,
      DoubleFunction<double[]> losses,
      DoubleFunction<Calibration> calibrations)
      throws IOException {
    PrintWriter out = out();
    double highest = test.thresholds().getFirst();
    double chosen =
        test.threshold(losses)
            .orElseThrow(
                () ->
                    new EvalException(
                        "these texts support no threshold: already at %s, the mean loss is %.3f; use a larger --delta, or more prompts"
                            .formatted(highest, mean(losses.apply(highest)))));
    Path file = output.orElseGet(subject.model()::calibrationFile);
    calibrations.apply(chosen).write(file);
    double[] found = losses.apply(chosen);
    out.printf(
        "threshold %s: with confidence %.3g, %s is at most %.3g; here it is %.4f, of %d"
            + " texts%n",
        (fitsGates ? "%.4f" : "%.2f").formatted(chosen),
        1 - epsilon,
        guarantee.words(),
        delta,
        mean(found),
        found.length);
    if (trace.tokens() > 0) {
      out.printf("mean layer %.2f of %d; ", trace.meanLayer(chosen), trace.layers());
    }
    out.printf("written to %s%n", file);
    if (splits > 0) {
      LearnThenTest.SplitValidation halves = test.validateOnSplits(found.length, splits, 0, losses);
      out.printf(
          "%d random halves: a threshold in %d, of which the other half broke the guarantee in"
              + " %d%n",
          splits, halves.found(), halves.violated());
    }
  }

  private Guarantee guarantee() {
    if (task.isPresent()) {
      TaskSpec asked = TaskFile.read(task.get());
      return new Guarantee(
          "what an answer's score of " + task.get() + " falls by",
          STEPS_OF_TEXTS,
          (subject, trace, calibrations) ->
              new AnswerLosses(
                  subject,
                  asked,
                  new TaskData(data.orElseThrow(), limit.itemsOrAll(), EvalCommand.SEED),
                  calibrations));
    }
    return new Guarantee(
        "the share of a text's tokens that differ",
        STEPS,
        (subject, trace, calibrations) -> trace::losses);
  }

  private void validateOptions() {
    output.ifPresent(file -> OutputPath.requireFile("--output", file));
    picture.ifPresent(file -> OutputPath.requireFile("--picture", file));
    if (fitsGates && (policy.isPresent() || fitsTemperatures)) {
      throw new ConfigException(
          "%s has no effect with --gate, which has a figure of its own; leave it out"
              .formatted(fitsTemperatures ? "--temperatures" : "--policy"));
    }
    if (fitsGates && !meshOptions.isAlone()) {
      throw new ConfigException(
          "--gate needs the whole model on one rank; leave out --tp and --pp");
    }
    if (!policy().comparesConfidence()) {
      throw new ConfigException(
          "--policy: %s has no upper bound to begin at; use %s"
              .formatted(policy(), PolicyName.listed(PolicyName.ofConfidence(), "or")));
    }
    if (tokens() < 1 || splits < 0) {
      throw new ConfigException(
          "--max-tokens, --splits: %d, %d; use at least 1 and at least 0"
              .formatted(tokens(), splits));
    }
    if (task.isPresent() != data.isPresent()) {
      throw new ConfigException("--task and --data go together; give both or neither");
    }
    if (beginnings.isCode() && task.isPresent()) {
      throw new ConfigException("--code takes the place of --task; give one of them");
    }
    beginnings.require(limit);
    if (beginnings.isEmpty() && task.isPresent() && maxTokens.isPresent()) {
      throw new ConfigException(
          "--max-tokens has no effect without --prompts: a task has its own; leave it out");
    }
    ConfigException.requireAtLeast(1, draftVocabulary.orElse(1), "--draft-vocabulary");
    if (beginnings.isEmpty() && draftVocabulary.isPresent()) {
      throw new ConfigException(
          "--draft-vocabulary needs --prompts or --code, after which the model writes; give a"
              + " file");
    }
    if (beginnings.isEmpty()
        && (task.isEmpty() || fitsTemperatures || fitsGates || picture.isPresent())) {
      throw new ConfigException(
          "--prompts: is missing; %s"
              .formatted(
                  task.isEmpty()
                      ? "give a file with one a line, or --code"
                      : "--temperatures, --gate and --picture need texts beside the task"));
    }
  }

  /** How many of so many prompts are kept from the guarantee, for temperatures or gates. */
  private int forFitting(int prompts) {
    if (task.isPresent() || !fitsTemperatures && !fitsGates) {
      return 0;
    }
    return Math.ceilDiv(prompts, fitsGates ? PART_FOR_GATES : PART_FOR_TEMPERATURES);
  }

  private static void requireEnough(String source, int texts, int minTexts) {
    if (texts < minTexts) {
      throw new EvalException(
          "%s: %d texts cannot support the guarantee, even without any loss; give at least %d (with --code by --limit), or a larger --delta or --epsilon"
              .formatted(source, texts, minTexts));
    }
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElse(0);
  }
}
