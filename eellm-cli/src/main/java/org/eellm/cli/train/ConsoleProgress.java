package org.eellm.cli.train;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import me.tongfei.progressbar.DelegatingProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.eellm.train.metrics.MetricsSink;
import org.eellm.train.metrics.TrainEvent;
import org.eellm.train.metrics.TrainEvent.Evaluation;
import org.eellm.train.metrics.TrainEvent.Step;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;

/**
 * A run for the people who watch it: on a terminal a progress bar with loss per exit, tokens a
 * second and the time left, elsewhere the same in a line every {@code logging.interval} steps.
 * Evaluations and skipped steps have lines of their own.
 */
final class ConsoleProgress implements MetricsSink {
  private static final int BAR_LENGTH = 120;

  private final PrintWriter out;
  private final long firstStep;
  private final long totalSteps;
  private final int interval;
  private final Optional<ProgressBar> bar;
  private final long startNanos = System.nanoTime();

  /**
   * Starts watching.
   *
   * @param out where lines go, usually standard error
   * @param terminal whether {@code out} is a terminal, which understands cursor movements
   * @param lastStep the step the run goes on after; 0 at the start of a run
   * @param totalSteps the run's last step
   * @param interval steps between lines
   */
  public ConsoleProgress(
      PrintWriter out, boolean terminal, long lastStep, long totalSteps, int interval) {
    this.out = out;
    this.firstStep = lastStep + 1;
    this.totalSteps = totalSteps;
    this.interval = interval;
    this.bar = terminal ? Optional.of(bar(lastStep)) : Optional.empty();
  }

  @Override
  public void accept(TrainEvent event) {
    switch (event) {
      case Step step -> accept(step);
      case Evaluation evaluation -> evaluationLines(evaluation).forEach(this::line);
    }
  }

  /** Prints a line, above the bar where there is one. */
  public void line(String text) {
    out.println(bar.isPresent() ? "\r\033[K" + text : text);
  }

  @Override
  public void close() {
    bar.ifPresent(
        present -> {
          present.close();
          out.println();
        });
  }

  private void accept(Step step) {
    bar.ifPresent(
        present -> {
          present.setExtraMessage(" " + fewNumbers(step));
          present.stepTo(step.step());
        });
    if (step.decision() != UpdateDecision.APPLY) {
      line(
          "step %,d skipped: %s (loss %.4g, gradient norm %.4g)"
              .formatted(
                  step.step(),
                  step.decision() == UpdateDecision.SKIP_SPIKE
                      ? "the gradient norm is far above the last steps'"
                      : "loss or gradient is not finite",
                  step.loss(),
                  step.gradientNorm()));
    }
    boolean due = step.step() % interval == 0 || step.step() == totalSteps || step.step() == 1;
    if (bar.isEmpty() && due) {
      line(
          "step %,d/%,d  %s  %s left"
              .formatted(step.step(), totalSteps, numbers(step), timeLeft(step.step())));
    }
  }

  private static String numbers(Step step) {
    return "loss %.3f  %s  lr %.2e  norm %.2f  %,.0f tokens/s  mfu %.2f%s  %.1f GiB"
        .formatted(
            step.loss(),
            losses(step, "%.3f"),
            step.learningRate(),
            step.gradientNorm(),
            step.tokensPerSecond(),
            step.mfu(),
            step.waiting() > 0 ? "  waiting %.0f %%".formatted(100 * step.waiting()) : "",
            step.memory() / (double) (1L << 30));
  }

  /** The losses and the speed, short enough to fit beside a bar. */
  private static String fewNumbers(Step step) {
    return "%s  %,.0f tokens/s".formatted(losses(step, "%.2f"), step.tokensPerSecond());
  }

  private static String losses(Step step, String format) {
    return step.losses().entrySet().stream()
        .map(head -> head.getKey().label() + " " + format.formatted(head.getValue()))
        .collect(Collectors.joining("  "));
  }

  private static List<String> evaluationLines(Evaluation evaluation) {
    List<String> lines = new ArrayList<>();
    evaluation
        .heads()
        .forEach(
            (head, quality) -> {
              String bits =
                  evaluation.bytesPerToken().isPresent()
                      ? "  bits/byte %.3f"
                          .formatted(quality.bitsPerByte(evaluation.bytesPerToken().getAsDouble()))
                      : "";
              lines.add(
                  "step %,d validation  %-8s  loss %.3f  perplexity %.2f%s  accuracy %.1f %%%s"
                      .formatted(
                          evaluation.step(),
                          head.label(),
                          quality.loss(),
                          quality.perplexity(),
                          bits,
                          100 * quality.accuracy(),
                          quality.agreement().isPresent()
                              ? "  agreement %.1f %%"
                                  .formatted(100 * quality.agreement().getAsDouble())
                              : ""));
            });
    return lines;
  }

  private String timeLeft(long step) {
    double secondsPerStep = (System.nanoTime() - startNanos) / 1e9 / (step - firstStep + 1);
    Duration left = Duration.ofSeconds(Math.round(secondsPerStep * (totalSteps - step)));
    return "%d:%02d:%02d".formatted(left.toHours(), left.toMinutesPart(), left.toSecondsPart());
  }

  /** A bar whose lines the terminal cuts at its edge, so that no window is too narrow. */
  private ProgressBar bar(long lastStep) {
    return new ProgressBarBuilder()
        .setTaskName("train")
        .setInitialMax(totalSteps)
        .startsFrom(lastStep, Duration.ZERO)
        .setStyle(ProgressBarStyle.ASCII)
        .setUpdateIntervalMillis(250)
        .setConsumer(
            new DelegatingProgressBarConsumer(
                text -> {
                  out.print("\r\033[?7l" + text + "\033[K\033[?7h");
                  out.flush();
                },
                BAR_LENGTH))
        .build();
  }
}
