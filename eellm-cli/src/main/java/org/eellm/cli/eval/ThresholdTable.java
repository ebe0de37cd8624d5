package org.eellm.cli.eval;

import java.io.PrintWriter;
import java.util.List;
import org.eellm.config.HeadId;
import org.eellm.eval.sweep.Sweep;
import org.eellm.eval.sweep.Sweep.Row;

/** The narrow table of a {@link Sweep} whose settings are adaptive drafts and thresholds. */
public final class ThresholdTable {
  /** Tokens/s, speed-up with its range, and agreement. */
  private static final String ROW = "%11s  %-19s%11s%n";

  private ThresholdTable() {}

  public static void print(PrintWriter out, Sweep sweep) {
    List<HeadId> heads = List.copyOf(sweep.rows().getFirst().shares().keySet());
    out.print("              ");
    heads.forEach(head -> out.printf("%9s", head.label()));
    out.println("   tokens/s  speed-up             agreement");
    out.print("full model    ");
    heads.forEach(head -> out.printf("%9s", head.equals(heads.getLast()) ? "100 %" : ""));
    out.printf(
        ROW, sweep.speed("%,.0f", sweep.fullTokensPerSecond()), sweep.speed("%.2f", 1), "100.0 %");
    for (Row row : sweep.rows()) {
      out.printf("%-14s", row.setting().label());
      row.shares().values().forEach(share -> out.printf("%7.0f %%", 100 * share));
      out.printf(
          ROW,
          sweep.speed("%,.0f", row.tokensPerSecond()),
          sweep.speedUp(row),
          "%.1f %%".formatted(100 * row.agreement()));
    }
    sweep.rows().stream()
        .flatMap(row -> row.acceptance().stream())
        .findFirst()
        .ifPresent(
            share ->
                out.printf(
                    "Lossless: exits or the text draft, the full model verifies; it confirmed %.0f"
                        + " %% of the drafts.%n",
                    100 * share));
    out.printf(
        "Measured on the full model's own %,d tokens after %d beginnings of methods; a threshold"
            + " agrees where%nits token, given the full model's text before it, is the full"
            + " model's.%n",
        sweep.tokens(), sweep.prompts());
    out.println(sweep.method());
    sweep.distrust().ifPresent(out::println);
  }
}
