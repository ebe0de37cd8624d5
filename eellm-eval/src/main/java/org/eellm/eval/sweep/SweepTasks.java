package org.eellm.eval.sweep;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.SequencedMap;
import org.eellm.config.HeadId;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.eval.Estimate;
import org.eellm.eval.EvalProgress;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.task.Evaluation;
import org.eellm.eval.task.Metric;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskResult;
import org.eellm.eval.task.TaskSpec;

/** Tasks that every setting of a sweep does. */
@FunctionalInterface
public interface SweepTasks {
  /** The full model. */
  DecodingSettings FULL = DecodingSettings.of(DecodingMode.FULL);

  /**
   * A way to decode gets a score for each task and metric.
   *
   * @param name of its folder
   */
  SequencedMap<String, Estimate> scores(String name, DecodingSettings decoding);

  /** No tasks. */
  static SweepTasks none() {
    return (name, decoding) -> new LinkedHashMap<>();
  }

  /**
   * Tasks whose answers are written, or whose likelihoods are what the heads say at which tokens
   * leave.
   *
   * @param variant of {@link Evaluation}
   * @param output folder; what was answered there is not asked again
   */
  static SweepTasks of(
      EvaluatedModel model,
      List<TaskSpec> specs,
      TaskData data,
      String variant,
      Path output,
      EvalProgress progress) {
    return (name, decoding) -> {
      SequencedMap<String, Estimate> scores = new LinkedHashMap<>();
      Evaluation evaluation =
          new Evaluation(model, data, List.of(), decoding, variant, output.resolve(name));
      for (TaskSpec spec : specs) {
        TaskResult result = evaluation.run(spec, progress);
        for (Metric metric : spec.metrics()) {
          scores.put(spec.task() + " " + metric, result.figure(HeadId.FINAL, metric));
        }
      }
      return scores;
    };
  }
}
