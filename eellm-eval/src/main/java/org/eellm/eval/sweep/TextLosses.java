package org.eellm.eval.sweep;

import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.DoubleFunction;
import java.util.function.Function;
import org.eellm.config.ConfigException;
import org.eellm.decode.exit.Calibration;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.DecodingMode;
import org.eellm.decode.request.DecodingSetting;
import org.eellm.decode.request.DecodingSettings;
import org.eellm.decode.token.Detokenizer;
import org.eellm.eval.EvaluatedModel;
import org.eellm.eval.GreedyContinuation;
import org.eellm.eval.task.Item;
import org.eellm.eval.task.Metric;
import org.eellm.eval.task.TaskData;
import org.eellm.eval.task.TaskItems;
import org.eellm.eval.task.TaskRun;
import org.eellm.eval.task.TaskSpec;
import org.eellm.eval.task.TaskSpec.OutputType;

/**
 * Losses of whole texts that early exits write by themselves (CALM, arXiv 2207.07061, section 4.1),
 * from 0 to 1, at thresholds. Texts of a threshold are written when it is first asked for.
 */
public final class TextLosses implements DoubleFunction<double[]> {
  private final Function<DecodingSettings, double[]> losses;
  private final DoubleFunction<Calibration> calibrations;
  private final Map<Double, double[]> known = new HashMap<>();

  private TextLosses(
      Function<DecodingSettings, double[]> losses, DoubleFunction<Calibration> calibrations) {
    this.losses = losses;
    this.calibrations = calibrations;
  }

  /**
   * Textual consistency: how far a text is from the full model's, which is 1 less a metric of the
   * two.
   *
   * @param own the full model's
   * @param calibrations what a threshold means
   */
  public static TextLosses ofPrompts(
      EvaluatedModel model,
      List<GreedyContinuation> own,
      int maxTokens,
      Metric metric,
      DoubleFunction<Calibration> calibrations) {
    requireTexts(metric);
    List<List<Integer>> prompts = own.stream().map(GreedyContinuation::prompt).toList();
    List<String> full = texts(model, own);
    return new TextLosses(
        settings -> {
          DecodingMethod decoding =
              settings.decoding(model.exits(), maxTokens, name -> "--" + name);
          List<String> early =
              texts(model, GreedyContinuation.write(model, prompts, maxTokens, decoding));
          double[] far = new double[full.size()];
          Arrays.setAll(
              far,
              i -> early.get(i).equals(full.get(i)) ? 0 : 1 - metric.of(early.get(i), full.get(i)));
          return far;
        },
        calibrations);
  }

  /**
   * Risk consistency: how much lower than the full model's an answer's score is, by the task's
   * first metric.
   */
  public static TextLosses ofTask(
      EvaluatedModel model,
      TaskSpec spec,
      TaskData data,
      DoubleFunction<Calibration> calibrations) {
    spec.requireGenerative("--task");
    Metric metric = spec.metrics().getFirst();
    List<Item> items = TaskItems.read(spec, data);
    Function<DecodingSettings, double[]> scores =
        settings ->
            new TaskRun(model, spec, List.of(), settings, data.seed())
                .answer(items).stream()
                    .mapToDouble(outcome -> metric.of(outcome, List.of()))
                    .toArray();
    double[] full = scores.apply(SweepTasks.FULL);
    return new TextLosses(
        settings -> {
          double[] lower = scores.apply(settings);
          Arrays.setAll(lower, i -> Math.max(0, full[i] - lower[i]));
          return lower;
        },
        calibrations);
  }

  private static void requireTexts(Metric metric) {
    if (!metric.suits(OutputType.GENERATE_UNTIL)) {
      throw new ConfigException(
          "--loss: %s is not of texts; use rouge1, rouge2, rouge_l, f1, f1_set or exact_match"
              .formatted(metric));
    }
  }

  /** Of each text. */
  @Override
  public double[] apply(double threshold) {
    return known.computeIfAbsent(
        threshold,
        t ->
            losses.apply(
                DecodingSettings.NONE
                    .with(DecodingSetting.MODE, DecodingMode.EARLY_EXIT)
                    .with(DecodingSetting.CALIBRATION, calibrations.apply(t))));
  }

  private static List<String> texts(EvaluatedModel model, List<GreedyContinuation> written) {
    return written.stream()
        .map(
            text -> {
              Detokenizer detokenizer = model.detokenizer(text.prompt());
              StringBuilder joined = new StringBuilder();
              text.continuation().forEach(id -> joined.append(detokenizer.append(id)));
              return joined.append(detokenizer.finish()).toString();
            })
        .toList();
  }
}
