package org.eellm.eval.task;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import org.eellm.config.HeadId;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.SnakeCaseJson;

/**
 * Puts tasks to a model and measures its answers.
 *
 * @param exits layers of the exits that likelihoods are asked of, beside the final head; without
 *     any, likelihoods are those of the heads at which tokens leave
 * @param decoding how answers are written, and tokens leave
 * @param variant what beside the model's folder and number format decides its answers
 * @param output folder; an evaluation that was stopped goes on there
 */
public record Evaluation(
    EvaluatedModel model,
    TaskData data,
    List<Integer> exits,
    DecodingSettings decoding,
    String variant,
    Path output) {
  /** Items that are asked together, so that what is lost by stopping is little. */
  private static final int CHUNK = 16;

  public Evaluation {
    exits = List.copyOf(exits);
  }

  /**
   * Does a task.
   *
   * @throws org.eellm.config.ConfigException if the output has outcomes of something else
   */
  public TaskResult run(TaskSpec spec, EvalProgress progress) {
    List<Item> items = TaskItems.read(spec, data);
    List<HeadId> heads = HeadId.all(exits);
    OutcomeFile<Outcome> file =
        new OutcomeFile<>(
            output.resolve("items").resolve(spec.task() + ".jsonl"),
            fingerprint(spec, items),
            Outcome.of(spec.outputType()));
    TaskRun run = new TaskRun(model, spec, heads, decoding, data.seed());
    int done = file.outcomes().size();
    while (done < items.size()) {
      progress.report(spec.task(), done, items.size());
      file.add(run.answer(items.subList(done, Math.min(done + CHUNK, items.size()))));
      done = file.outcomes().size();
    }
    progress.report(spec.task(), done, items.size());
    return TaskResult.of(spec, heads, file.outcomes());
  }

  private String fingerprint(TaskSpec spec, List<Item> items) {
    Map<String, Object> all = new TreeMap<>();
    all.put("model", model.name());
    all.put("dtype", model.architecture().model().dtype());
    all.put("task", spec);
    CRC32C checksum = new CRC32C();
    checksum.update(SnakeCaseJson.line(items).getBytes(StandardCharsets.UTF_8));
    all.put("items", checksum.getValue());
    all.put("exits", exits);
    all.put("decoding", decoding.fingerprint());
    all.put("seed", data.seed());
    all.put("variant", variant);
    return SnakeCaseJson.line(all);
  }
}
