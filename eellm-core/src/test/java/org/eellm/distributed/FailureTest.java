package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Three processes, of which one falls silent in the middle of a sum, and the others end by it. */
@Timeout(300)
final class FailureTest {
  /** As if for ever: no rank ends by it. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private static RankProcesses start(String transport) throws IOException {
    return RankProcesses.start(
        RankMain.class, 3, List.of(Long.toString(TIMEOUT.toMillis()), transport));
  }

  @ParameterizedTest
  @ValueSource(strings = {"CPU", "GLOO", RankMain.STREAM})
  void await_aRankIsKilled_theOthersNameIt(String transport) throws Exception {
    try (RankProcesses ranks = start(transport)) {
      ranks.signal(1, "KILL");

      assertThat(ranks.verdicts(1).values())
          .allSatisfy(
              line ->
                  assertThat(line)
                      .startsWith("rank 1 (tp 0, dp 0, pp 1) has sent no heartbeat for")
                      .contains("(in all-reduce of 4.0 kB over all ranks)"));
    }
  }

  /** The board hears nothing of what carries the sums. */
  @Tag("slow")
  @Test
  void await_theRankThatHoldsTheBoardIsKilled_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start("CPU")) {
      ranks.signal(0, "KILL");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }

  /** Whose connections stay open. */
  @Tag("slow")
  @ParameterizedTest
  @ValueSource(strings = {"GLOO", RankMain.STREAM})
  void await_aRankIsStopped_theOthersNameIt(String transport) throws Exception {
    try (RankProcesses ranks = start(transport)) {
      ranks.signal(2, "STOP");

      assertThat(ranks.verdicts(2).values())
          .allSatisfy(
              line ->
                  assertThat(line)
                      .startsWith("rank 2 (tp 0, dp 0, pp 2) has sent no heartbeat for"));
    }
  }

  @Tag("slow")
  @Test
  void await_theRankThatHoldsTheBoardIsStopped_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start("CPU")) {
      ranks.signal(0, "STOP");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }
}
