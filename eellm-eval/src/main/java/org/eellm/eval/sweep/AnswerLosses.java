package org.eellm.eval.sweep;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleFunction;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.task.Item;
import org.eellm.eval.task.Metric;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskItems;
import org.eellm.eval.task.TaskRun;
import org.eellm.eval.task.TaskSpec;

/**
 * How much lower than the full model's the scores of answers are that early exits write by
 * themselves (risk consistency of CALM, arXiv 2207.07061, section 4.1), from 0 to 1, at thresholds.
 * Answers of a threshold are written when it is first asked for.
 */
public final class AnswerLosses implements DoubleFunction<double[]> {
  private final EvaluatedModel model;
  private final TaskSpec spec;
  private final TaskData data;
  private final DoubleFunction<Calibration> calibrations;
  private final List<Item> items;
  private final double[] full;
  private final Map<Double, double[]> known = new HashMap<>();

  /**
   * By a task's first metric.
   *
   * @param calibrations what a threshold means
   */
  public AnswerLosses(
      EvaluatedModel model,
      TaskSpec spec,
      TaskData data,
      DoubleFunction<Calibration> calibrations) {
    spec.requireGenerative("--task");
    this.model = model;
    this.spec = spec;
    this.data = data;
    this.calibrations = calibrations;
    items = TaskItems.read(spec, data);
    full = scores(SweepTasks.FULL);
  }

  private double[] scores(DecodingSettings settings) {
    Metric metric = spec.metrics().getFirst();
    return new TaskRun(model, spec, List.of(), settings, data.seed())
        .answer(items).stream().mapToDouble(outcome -> metric.of(outcome, List.of())).toArray();
  }

  /** Of each item. */
  @Override
  public double[] apply(double threshold) {
    return known.computeIfAbsent(
        threshold,
        t -> {
          double[] lower =
              scores(
                  DecodingSettings.NONE
                      .with(DecodingSetting.MODE, DecodingMode.EARLY_EXIT)
                      .with(DecodingSetting.CALIBRATION, calibrations.apply(t)));
          Arrays.setAll(lower, i -> Math.max(0, full[i] - lower[i]));
          return lower;
        });
  }
}
