package org.eellm.eval.task;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.eval.SnakeCaseJson;
import org.eellm.eval.task.TaskResult.Figures;

/**
 * An evaluation's results for tools and people.
 *
 * @param evaluation what was done
 * @param seconds that it took
 */
public record EvalReport(Evaluation evaluation, List<TaskResult> results, double seconds) {

  public EvalReport {
    results = List.copyOf(results);
  }

  /** Writes {@code results.json} and {@code results.md}. */
  public void write() {
    Path folder = evaluation.output();
    try {
      Files.createDirectories(folder);
      Files.writeString(
          folder.resolve("results.json"),
          SnakeCaseJson.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(json()) + "\n");
      Files.writeString(folder.resolve("results.md"), markdown());
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * In the shape of lm-evaluation-harness: a figure is under {@code metric,filter}, where the
   * filter {@code none} is the final head, and an exit is a filter of its own.
   */
  ObjectNode json() {
    ObjectNode root = SnakeCaseJson.MAPPER.createObjectNode();
    ObjectNode all = root.putObject("results");
    for (TaskResult result : results) {
      put(all, result.spec().task(), result.whole());
      result
          .subtasks()
          .forEach((name, figures) -> put(all, result.spec().task() + "_" + name, figures));
    }
    ObjectNode groups = root.putObject("group_subtasks");
    ObjectNode configs = root.putObject("configs");
    ObjectNode versions = root.putObject("versions");
    ObjectNode shots = root.putObject("n-shot");
    ObjectNode better = root.putObject("higher_is_better");
    ObjectNode samples = root.putObject("n-samples");
    for (TaskResult result : results) {
      TaskSpec spec = result.spec();
      var names = groups.putArray(spec.task());
      result.subtasks().keySet().forEach(name -> names.add(spec.task() + "_" + name));
      configs.set(spec.task(), SnakeCaseJson.MAPPER.valueToTree(spec));
      versions.put(spec.task(), spec.version());
      shots.put(spec.task(), spec.numFewshot());
      ObjectNode higher = better.putObject(spec.task());
      spec.metrics().forEach(metric -> higher.put(metric.toString(), metric.higherIsBetter()));
      samples
          .putObject(spec.task())
          .put("effective", result.items())
          .put("truncated", result.truncated());
    }
    ObjectNode config = root.putObject("config");
    config.put("model", "eellm");
    config.put("model_args", "pretrained=" + evaluation.model().name());
    config.put("model_dtype", evaluation.model().architecture().model().dtype().toString());
    config.set("exits", SnakeCaseJson.MAPPER.valueToTree(evaluation.exits()));
    if (evaluation.data().limit() != TaskData.ALL) {
      config.put("limit", evaluation.data().limit());
    }
    config.put("random_seed", evaluation.data().seed());
    root.put("model_name", evaluation.model().name());
    root.put("date", Instant.now().getEpochSecond());
    root.put("total_evaluation_time_seconds", seconds);
    return root;
  }

  private static void put(ObjectNode all, String name, SequencedMap<HeadId, Figures> figures) {
    ObjectNode node = all.putObject(name).put("alias", name);
    figures.forEach(
        (head, byMetric) ->
            byMetric
                .byMetric()
                .forEach(
                    (metric, estimate) -> {
                      node.put(metric + "," + filter(head), estimate.value());
                      String error = metric + "_stderr," + filter(head);
                      if (Double.isNaN(estimate.standardError())) {
                        node.put(error, "N/A"); // as the harness writes it
                      } else {
                        node.put(error, estimate.standardError());
                      }
                    }));
  }

  private static String filter(HeadId head) {
    return head.equals(HeadId.FINAL) ? "none" : head.toString();
  }

  /** A table with a row for each figure and a column for each head. */
  public String markdown() {
    List<HeadId> heads = HeadId.all(evaluation.exits());
    StringBuilder text = new StringBuilder("| task | n-shot | items | metric | |");
    heads.forEach(head -> text.append(" ").append(head.label()).append(" |"));
    text.append("\n|---|---|---|---|---|").append("---|".repeat(heads.size())).append("\n");
    for (TaskResult result : results) {
      for (Metric metric : result.spec().metrics()) {
        text.append(
            "| %s | %d | %,d | %s | %s |"
                .formatted(
                    result.spec().task(),
                    result.spec().numFewshot(),
                    result.items(),
                    metric,
                    metric.higherIsBetter() ? "↑" : "↓"));
        for (HeadId head : heads) {
          text.append(
              result.whole().containsKey(head)
                  ? " %s |".formatted(cell(result.figure(head, metric)))
                  : " |");
        }
        text.append("\n");
      }
    }
    for (TaskResult result : results) {
      if (result.truncated() > 0) {
        text.append(
            "\n%s: the beginning of %,d of %,d items was cut off to fit the context of %d tokens.\n"
                .formatted(
                    result.spec().task(),
                    result.truncated(),
                    result.items(),
                    evaluation.model().context()));
      }
      if (!Double.isNaN(result.meanLayer())) {
        text.append(
            "\n%s: tokens left at layer %.2f of %d on average.\n"
                .formatted(result.spec().task(), result.meanLayer(), evaluation.model().layers()));
      }
    }
    return text.toString();
  }

  private static String cell(Estimate estimate) {
    return estimate.text(EvalReport::number);
  }

  private static String number(double value) {
    double size = Math.abs(value);
    String format = size >= 1e6 ? "%.3g" : size >= 1000 ? "%.1f" : "%.4f";
    return format.formatted(value);
  }
}
