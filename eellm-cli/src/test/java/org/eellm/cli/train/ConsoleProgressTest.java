package org.eellm.cli.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import org.eellm.train.Events;
import org.eellm.train.optimizer.StepGuard.UpdateDecision;
import org.junit.jupiter.api.Test;

class ConsoleProgressTest {
  private final StringWriter text = new StringWriter();
  private final PrintWriter out = new PrintWriter(text);

  @Test
  void accept_steps_printsTheFirstTheIntervalsAndTheLast() {
    try (ConsoleProgress console = new ConsoleProgress(out, false, 0, 25, 10)) {
      for (long step = 1; step <= 25; step++) {
        console.accept(Events.step(step, 3.25, UpdateDecision.APPLY));
      }
    }
    assertThat(text.toString().lines().map(line -> line.substring(0, line.indexOf('/'))))
        .containsExactly("step 1", "step 10", "step 20", "step 25");
    assertThat(text.toString())
        .contains("loss 3.250  exit 2 4.250  exit 4 3.750  final 3.250")
        .contains("5,230 tokens/s")
        .contains("0:00:00 left");
  }

  @Test
  void accept_skippedStep_printsWhy() {
    try (ConsoleProgress console = new ConsoleProgress(out, false, 0, 25, 10)) {
      console.accept(Events.step(3, Double.NaN, UpdateDecision.SKIP_NOT_FINITE));
      console.accept(Events.step(4, 2, UpdateDecision.SKIP_SPIKE));
    }
    assertThat(text.toString().lines())
        .containsExactly(
            "step 3 skipped: loss or gradient is not finite (loss NaN, gradient norm 0.8000)",
            "step 4 skipped: the gradient norm is far above the last steps' (loss 2.000, gradient"
                + " norm 0.8000)");
  }

  @Test
  void accept_evaluation_printsALineForEveryHead() {
    try (ConsoleProgress console = new ConsoleProgress(out, false, 0, 25, 10)) {
      console.accept(Events.evaluation(10, 2));
    }
    assertThat(text.toString().lines())
        .containsExactly(
            "step 10 validation  exit 2    loss 3.000  perplexity 20.09  bits/byte 1.082  accuracy"
                + " 25.0 %",
            "step 10 validation  exit 4    loss 2.500  perplexity 12.18  bits/byte 0.902  accuracy"
                + " 30.0 %",
            "step 10 validation  final     loss 2.000  perplexity 7.39  bits/byte 0.721  accuracy"
                + " 40.0 %");
  }

  @Test
  void accept_onTerminal_drawsABarAndKeepsLinesAboveIt() {
    try (ConsoleProgress console = new ConsoleProgress(out, true, 5, 25, 10)) {
      console.accept(Events.step(6, 3.25, UpdateDecision.APPLY));
      console.line("a line");
      console.accept(Events.step(25, 3.0, UpdateDecision.APPLY));
    }
    assertThat(text.toString())
        .contains("\r\033[Ka line\n")
        .contains("25/25")
        .contains("exit 2 4.00  exit 4 3.50  final 3.00  5,230 tokens/s");
  }
}
