package org.eellm.cli.option;

import java.io.Console;
import java.io.PrintWriter;
import java.text.DecimalFormat;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import me.tongfei.progressbar.DelegatingProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.eellm.data.Progress;
import org.eellm.eval.EvalProgress;

/**
 * Shows how far work has come: on a terminal in a bar for each kind of work, elsewhere in a line
 * every ten seconds, and one for each part of it that is finished.
 */
public final class WorkProgress implements Progress, EvalProgress, AutoCloseable {
  private static final Duration LINE_INTERVAL = Duration.ofSeconds(10);
  private static final int BAR_LENGTH = 100;
  private static final long MEGABYTE = 1_000_000;

  private final PrintWriter out;
  private final boolean terminal;
  private final Duration lineInterval;
  private Optional<Shown> current = Optional.empty();
  private long nextLine;

  /** The work that is under way, and where it is shown. */
  private record Shown(String work, boolean inBytes, long start, Optional<ProgressBar> bar) {}

  public WorkProgress(PrintWriter out, boolean terminal, Duration lineInterval) {
    this.out = out;
    this.terminal = terminal;
    this.lineInterval = lineInterval;
  }

  /**
   * Of a command.
   *
   * @param err for what people read while it works
   */
  public static WorkProgress onConsole(PrintWriter err) {
    Console console = System.console();
    return new WorkProgress(err, console != null && console.isTerminal(), LINE_INTERVAL);
  }

  @Override
  public void report(Work work, long done, long total) {
    String name = work.name().toLowerCase(Locale.ROOT).replace('_', ' ');
    report(name, work != Work.MERGING_PAIRS, done, total);
  }

  /** Shows work that is counted in items. */
  @Override
  public void report(String work, long done, long total) {
    report(work, false, done, total);
  }

  /**
   * On a terminal the bar says how far the work has come, and what comes of it is said in the end.
   */
  @Override
  public void finished(String result) {
    if (!terminal) {
      out.println(result);
    }
  }

  private void report(String work, boolean inBytes, long done, long total) {
    if (current.isEmpty() || !current.get().work().equals(work)) {
      close();
      current = Optional.of(new Shown(work, inBytes, System.nanoTime(), bar(work, inBytes, total)));
      nextLine = System.nanoTime() + lineInterval.toNanos();
    }
    Shown shown = current.get();
    shown.bar().ifPresent(bar -> bar.stepTo(done));
    if (shown.bar().isEmpty() && System.nanoTime() >= nextLine) {
      nextLine += lineInterval.toNanos();
      out.println(line(shown, done, total));
    }
  }

  private static String line(Shown shown, long done, long total) {
    double seconds = (System.nanoTime() - shown.start()) / 1e9;
    String percent = "%s: %.0f %%".formatted(shown.work(), 100.0 * done / Math.max(total, 1));
    return shown.inBytes()
        ? percent
            + " of %.1f MB, read at %.1f MB/s"
                .formatted((double) total / MEGABYTE, done / seconds / MEGABYTE)
        : percent + " of %,d".formatted(total);
  }

  private Optional<ProgressBar> bar(String work, boolean inBytes, long total) {
    if (!terminal) {
      return Optional.empty();
    }
    ProgressBarBuilder builder =
        new ProgressBarBuilder()
            .setTaskName(work)
            .setInitialMax(total)
            .setStyle(ProgressBarStyle.ASCII)
            .setUpdateIntervalMillis(250)
            .setConsumer(
                new DelegatingProgressBarConsumer(
                    text -> {
                      out.print("\r\033[?7l" + text + "\033[K\033[?7h");
                      out.flush();
                    },
                    BAR_LENGTH));
    if (inBytes) {
      builder.setUnit(" MB", MEGABYTE).showSpeed(new DecimalFormat("0.0"));
    }
    return Optional.of(builder.build());
  }

  /** Ends the bar, if there is one. */
  @Override
  public void close() {
    current
        .flatMap(Shown::bar)
        .ifPresent(
            bar -> {
              bar.close();
              out.println();
            });
    current = Optional.empty();
  }
}
