package org.eellm.eval.task;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import java.util.SequencedMap;
import java.util.stream.Collectors;
import org.eellm.config.HeadId;
import org.eellm.eval.Estimate;
import org.eellm.eval.task.TaskSpec.OutputType;

/**
 * A task's results.
 *
 * @param items that were asked
 * @param truncated of these, whose beginning was cut off to fit the context
 * @param meanLayer at which written tokens left the model; not a number if none were written
 * @param whole of all items, by the head's name; written answers have no head, and count as the
 *     final one's
 * @param subtasks of each group's items
 */
public record TaskResult(
    TaskSpec spec,
    int items,
    int truncated,
    double meanLayer,
    SequencedMap<HeadId, Figures> whole,
    SequencedMap<String, SequencedMap<HeadId, Figures>> subtasks) {

  /** A head's figures. */
  public record Figures(SequencedMap<Metric, Estimate> byMetric) {
    /** One of the task's metrics. */
    Estimate of(Metric metric) {
      return Objects.requireNonNull(byMetric.get(metric), metric::toString);
    }
  }

  /** A figure of all items, at one of the heads that were asked. */
  public Estimate figure(HeadId head, Metric metric) {
    return Objects.requireNonNull(whole.get(head), head::toString).of(metric);
  }

  static TaskResult of(TaskSpec spec, List<HeadId> heads, List<Outcome> outcomes) {
    List<HeadId> asked =
        spec.outputType() == OutputType.GENERATE_UNTIL ? List.of(HeadId.FINAL) : heads;
    SequencedMap<String, SequencedMap<HeadId, Figures>> subtasks = new LinkedHashMap<>();
    outcomes.stream()
        .filter(outcome -> !outcome.subtask().isEmpty())
        .collect(Collectors.groupingBy(Outcome::subtask, LinkedHashMap::new, Collectors.toList()))
        .forEach((name, some) -> subtasks.put(name, figures(spec, asked, some)));
    return new TaskResult(
        spec,
        outcomes.size(),
        (int) outcomes.stream().filter(Outcome::truncated).count(),
        meanLayer(outcomes),
        figures(spec, asked, outcomes),
        Collections.unmodifiableSequencedMap(subtasks));
  }

  /** Of all tokens that were written; NaN where none were. */
  private static double meanLayer(List<Outcome> outcomes) {
    List<Outcome.Written> written =
        outcomes.stream()
            .filter(Outcome.Written.class::isInstance)
            .map(Outcome.Written.class::cast)
            .toList();
    return written.stream().mapToDouble(text -> text.tokens() * text.meanLayer()).sum()
        / written.stream().mapToInt(Outcome.Written::tokens).sum();
  }

  private static SequencedMap<HeadId, Figures> figures(
      TaskSpec spec, List<HeadId> heads, List<Outcome> outcomes) {
    SequencedMap<HeadId, Figures> byHead = new LinkedHashMap<>();
    for (HeadId head : heads) {
      SequencedMap<Metric, Estimate> byMetric = new LinkedHashMap<>();
      spec.metrics().forEach(metric -> byMetric.put(metric, metric.estimate(outcomes, head)));
      byHead.put(head, new Figures(Collections.unmodifiableSequencedMap(byMetric)));
    }
    return Collections.unmodifiableSequencedMap(byHead);
  }
}
