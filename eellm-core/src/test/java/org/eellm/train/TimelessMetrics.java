package org.eellm.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Path;
import java.util.List;
import org.eellm.train.metrics.MetricsFile;

/** A run's metrics without what the clock says, to compare with another run's. */
public final class TimelessMetrics {
  private static final List<String> OF_THE_CLOCK =
      List.of("seconds", "tokens_per_second", "mfu", "waiting", "memory");

  private TimelessMetrics() {}

  /**
   * @param run the folder
   */
  public static List<ObjectNode> of(Path run) {
    return MetricsFile.read(run.resolve("metrics.jsonl")).stream()
        .map(line -> ((ObjectNode) line).remove(OF_THE_CLOCK))
        .toList();
  }
}
