package org.eellm.cli.generate;

import java.io.PrintWriter;
import org.eellm.decode.DecodeStats;

/** Where the time of generation went, as a table. */
final class DecodeStatsText {
  private DecodeStatsText() {}

  static void print(PrintWriter out, DecodeStats stats) {
    out.printf(
        "%d tokens in %.3f s, %.1f tokens/s; the first after %.1f ms%n",
        stats.tokens(), stats.seconds(), stats.tokensPerSecond(), 1e3 * stats.firstTokenSeconds());
    stats
        .rowsPerPass()
        .ifPresent(rows -> out.printf("%.2f rows pass a layer at once, on average%n", rows));
    if (stats.shareOfReadRate().isPresent()) {
      out.printf(
          "%.1f MB of weights a token, %.0f %% of the rate at which the same threads read them"
              + " (%.1f GB/s)%n",
          stats.weightBytes().orElseThrow() / 1e6 / Math.max(1, stats.tokens()),
          100 * stats.shareOfReadRate().getAsDouble(),
          stats.readBytesPerSecond().orElseThrow() / 1e9);
    }
    out.printf("%-40s %12s %8s%n", "where the time went, prompts included", "us a token", "%");
    for (DecodeStats.Part part : stats.parts()) {
      out.printf("%-40s %12.1f %8.1f%n", part.name(), part.microseconds(), 100 * part.share());
    }
  }
}
