package org.eellm.cli.eval;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.eellm.cli.generate.DecodingOptions;
import org.eellm.cli.option.EellmCommand;
import org.eellm.cli.option.MeshOptions;
import org.eellm.cli.option.ModelOptions;
import org.eellm.cli.option.OutputPath;
import org.eellm.cli.option.WorkProgress;
import org.eellm.config.ConfigException;
import org.eellm.decode.Engine;
import org.eellm.decode.LoadedModel;
import org.eellm.decode.TensorParallelEngine.EngineStarter;
import org.eellm.decode.request.Limits;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.task.EvalReport;
import org.eellm.eval.task.Evaluation;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskFile;
import org.eellm.eval.task.TaskResult;
import org.eellm.eval.task.TaskSpec;
import org.eellm.eval.task.TaskSpec.OutputType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code eellm eval}: how good the model and each of its exits are at tasks. */
@Command(
    name = "eval",
    description =
        "Measures the model, and each of its exits, on tasks and texts; docs/evaluate.md says"
            + " how.")
public final class EvalCommand extends EellmCommand {
  /** Of examples and of answers that are drawn, by default. */
  static final long SEED = 1234;

  @Mixin private ModelOptions modelOptions;
  @Mixin private MeshOptions meshOptions;
  @Mixin private DecodingOptions decodingOptions;
  @Mixin private LimitOption limit;

  @Option(
      names = "--tasks",
      split = ",",
      required = true,
      paramLabel = "TASK",
      description = "Tasks by name, or paths of YAML files of your own.")
  private List<String> tasks;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Folder of the data sets.")
  private Path data;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description =
          "Folder for results.json, results.md and what was answered to each item; a run that was"
              + " stopped goes on there.")
  private Path output;

  @Option(
      names = "--num-fewshot",
      paramLabel = "N",
      description = "Examples in front of a prompt; the tasks' own number by default.")
  private Optional<Integer> fewshot;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description = "Most tokens of a written answer; the tasks' own number by default.")
  private Optional<Integer> maxTokens;

  @Option(
      names = "--batch-size",
      paramLabel = "N",
      defaultValue = "" + Limits.BATCH_SIZE,
      description = "Texts in work at once; ${DEFAULT-VALUE} by default.")
  private int batchSize;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "" + SEED,
      description = "Of examples and of answers that are drawn; ${DEFAULT-VALUE} by default.")
  private long seed;

  @Override
  public Integer call() {
    validateOptions();
    List<TaskSpec> specs = tasks.stream().map(this::task).toList();
    boolean writes =
        specs.stream().anyMatch(task -> task.outputType() == OutputType.GENERATE_UNTIL);
    requireEffect(writes);
    return meshOptions.onFirstRank(
        spec, modelOptions, (model, engines) -> evaluate(specs, writes, model, engines));
  }

  private void evaluate(
      List<TaskSpec> specs, boolean writes, LoadedModel model, EngineStarter engines) {
    long start = System.nanoTime();
    try (Engine engine = model.engine(engines, batchSize, decodingOptions.maxPending())) {
      EvaluatedModel subject = new EvaluatedModel(model, engine);
      List<Integer> exits = exits(subject.exits());
      if (writes) {
        decodingOptions.require(model, 1); // says what is wrong before the first answer
      }
      Evaluation evaluation =
          new Evaluation(
              subject,
              new TaskData(data, limit.itemsOrAll(), seed),
              exits,
              decodingOptions.settings(model),
              modelOptions.variant(),
              output);
      List<TaskResult> results = new ArrayList<>();
      try (WorkProgress progress = WorkProgress.onConsole(err())) {
        specs.forEach(task -> results.add(evaluation.run(task, progress)));
      }
      EvalReport report = new EvalReport(evaluation, results, (System.nanoTime() - start) / 1e9);
      report.write();
      out().print(report.markdown());
      out().flush();
    }
  }

  private void validateOptions() {
    ConfigException.requireNotNegative(fewshot.orElse(0), "--num-fewshot", "use 0 or more");
    ConfigException.requireAtLeast(1, maxTokens.orElse(1), "--max-tokens");
    limit.require();
    OutputPath.requireFolder("--output", output);
  }

  private TaskSpec task(String name) {
    TaskSpec task = TaskFile.read(name);
    task = fewshot.map(task::withFewshot).orElse(task);
    return maxTokens.map(task::withMaxGenToks).orElse(task);
  }

  private void requireEffect(boolean writes) {
    if (!writes) {
      Optional<String> idle = maxTokens.map(value -> "--max-tokens").or(decodingOptions::given);
      if (idle.isPresent() && !idle.get().equals("--exits")) {
        throw new ConfigException(
            idle.get() + " has no effect: none of the tasks writes answers; leave it out");
      }
    }
  }

  private List<Integer> exits(List<Integer> all) {
    List<Integer> asked = decodingOptions.settings().exits();
    for (int layer : asked) {
      if (!all.contains(layer)) {
        throw new ConfigException(
            "--exits: there is no exit after layer %d; the model has %s"
                .formatted(layer, all.isEmpty() ? "none" : "them after " + all));
      }
    }
    return asked.isEmpty() ? all : asked.stream().sorted().toList();
  }
}
