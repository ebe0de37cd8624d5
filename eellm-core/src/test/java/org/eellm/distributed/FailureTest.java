package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.ValueSource;

/** Three processes, of which one falls silent in the middle of a sum, and the others end by it. */
@Timeout(300)
@ParameterizedClass
@ValueSource(strings = {"CPU", "GLOO", RankMain.STREAM})
final class FailureTest {
  /** As if for ever: no rank ends by it. */
  private static final Duration TIMEOUT = Duration.ofMinutes(10);

  private final String transport;

  FailureTest(String transport) {
    this.transport = transport;
  }

  private RankProcesses start() throws IOException {
    return RankProcesses.start(
        RankMain.class, 3, List.of(Long.toString(TIMEOUT.toMillis()), transport));
  }

  @Test
  void await_aRankIsKilled_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start()) {
      ranks.signal(1, "KILL");

      assertThat(ranks.verdicts(1).values())
          .allSatisfy(
              line ->
                  assertThat(line)
                      .startsWith("rank 1 (tp 0, dp 0, pp 1) has sent no heartbeat for")
                      .contains("(in all-reduce of 4.0 kB over all ranks)"));
    }
  }

  @Tag("slow")
  @Test
  void await_theRankThatHoldsTheBoardIsKilled_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start()) {
      ranks.signal(0, "KILL");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }

  @Tag("slow")
  @Test
  void await_aRankIsStopped_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start()) {
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
    try (RankProcesses ranks = start()) {
      ranks.signal(0, "STOP");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }
}
