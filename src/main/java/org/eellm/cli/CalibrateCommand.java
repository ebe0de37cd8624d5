package org.eellm.cli;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import org.eellm.config.ConfigException;
import org.eellm.eval.EvalException;
import org.eellm.eval.ExitTrace;
import org.eellm.eval.LearnThenTest;
import org.eellm.generate.Calibration;
import org.eellm.generate.Engine;
import org.eellm.generate.Limits;
import org.eellm.generate.ThresholdKind;
import picocli.CommandLine.Command;
import picocli.CommandLine.ExitCode;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code eellm calibrate}: the lowest threshold that keeps a promise about the text. */
@Command(
    name = "calibrate",
    description =
        "Finds the lowest threshold at which tokens, in all likelihood, are the full model's;"
            + " docs/evaluation.md says how.")
final class CalibrateCommand implements Callable<Integer> {
  @Spec private CommandSpec spec;
  @Mixin private ModelOptions modelOptions;

  @Option(
      names = "--prompts",
      required = true,
      paramLabel = "FILE",
      description = "Prompts that the model has not seen, one a line; the more, the better.")
  private Path prompts;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "FILE",
      description = "File to write, for --calibration of generate, chat, eval and serve.")
  private Path output;

  @Option(
      names = "--delta",
      paramLabel = "X",
      defaultValue = "0.05",
      description =
          "Share of a text's tokens that may differ from the full model's, on average over texts;"
              + " ${DEFAULT-VALUE} by default.")
  private double delta;

  @Option(
      names = "--epsilon",
      paramLabel = "X",
      defaultValue = "0.05",
      description =
          "Probability with which the promise may fail, over the draw of the prompts;"
              + " ${DEFAULT-VALUE} by default.")
  private double epsilon;

  @Option(
      names = "--policy",
      paramLabel = "POLICY",
      defaultValue = "max-probability",
      description = "max-probability or margin; ${DEFAULT-VALUE} by default.")
  private ThresholdKind kind;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "64",
      description = "Most tokens of each text; ${DEFAULT-VALUE} by default.")
  private int maxTokens;

  @Option(
      names = "--splits",
      paramLabel = "N",
      defaultValue = "100",
      description =
          "Also calibrate on N random halves of the prompts, and tell on how many of the other"
              + " halves the promise was broken; ${DEFAULT-VALUE} by default.")
  private int splits;

  @Override
  public Integer call() throws IOException {
    if (kind == ThresholdKind.ENTROPY) {
      throw new ConfigException(
          "--policy: entropy has no upper bound to begin at; use max-probability or margin");
    }
    LearnThenTest test = new LearnThenTest(delta, epsilon);
    if (maxTokens < 1 || splits < 0) {
      throw new ConfigException(
          "--max-tokens, --splits: %d, %d; use at least 1 and at least 0"
              .formatted(maxTokens, splits));
    }
    List<String> lines = PromptFile.lines(prompts);
    if (lines.size() < test.fewest()) {
      throw new EvalException(
          "%s: %d prompts cannot support the promise, even without any difference; give at least %d, or a larger --delta or --epsilon"
              .formatted(prompts, lines.size(), test.fewest()));
    }
    try (LoadedModel model = modelOptions.load();
        Engine engine = model.engine(Limits.BATCH_SIZE, Limits.MAX_PENDING)) {
      List<Integer> exits = model.architecture().exits().layers();
      if (exits.isEmpty()) {
        throw new EvalException(
            model.folder() + ": the model has no exits to calibrate; add some with add-exits");
      }
      List<List<Integer>> texts = new ArrayList<>();
      for (int i = 0; i < lines.size(); i++) {
        texts.add(model.prompt(lines.get(i), "prompt " + (i + 1)));
      }
      ExitTrace trace = ExitTrace.of(model.subject(engine), texts, maxTokens, kind);
      report(trace, test, exits);
    }
    return ExitCode.OK;
  }

  private void report(ExitTrace trace, LearnThenTest test, List<Integer> exits) throws IOException {
    PrintWriter out = spec.commandLine().getOut();
    for (int i = 0; i < exits.size(); i++) {
      out.printf(
          "exit %d: expected calibration error %.3f%n", exits.get(i), trace.calibrationError(i));
    }
    double chosen =
        test.threshold(trace::losses)
            .orElseThrow(
                () ->
                    new EvalException(
                        "these texts support no threshold: already at %s, %.1f %% of the tokens differ; use a larger --delta, or more prompts"
                            .formatted(
                                LearnThenTest.THRESHOLDS.getFirst(),
                                100 * mean(trace.losses(LearnThenTest.THRESHOLDS.getFirst())))));
    TreeMap<Integer, Double> thresholds = new TreeMap<>();
    exits.forEach(layer -> thresholds.put(layer, chosen));
    new Calibration(kind, thresholds).write(output);
    out.printf(
        "threshold %.2f: with confidence %.3g, at most %.3g of a text's tokens differ; here %.4f of"
            + " %d texts%n",
        chosen, 1 - epsilon, delta, mean(trace.losses(chosen)), trace.texts().size());
    out.printf(
        "mean layer %.2f of %d; written to %s%n", trace.meanLayer(chosen), trace.layers(), output);
    if (splits > 0) {
      LearnThenTest.Halves halves = test.halves(trace.texts().size(), splits, 0, trace::losses);
      out.printf(
          "%d random halves: a threshold in %d, of which the other half broke the promise in %d%n",
          splits, halves.found(), halves.broken());
    }
    out.flush();
  }

  private static double mean(double[] values) {
    return Arrays.stream(values).average().orElse(0);
  }
}
