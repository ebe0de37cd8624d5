package org.eellm.distributed;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import org.eellm.distributed.collective.DistributedBackend;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedClass;
import org.junit.jupiter.params.provider.EnumSource;

/** Three processes, of which one falls silent in the middle of a sum. */
@Timeout(300)
@ParameterizedClass
@EnumSource(
    value = DistributedBackend.class,
    names = {"CPU", "GLOO"})
final class FailureTest {
  private final DistributedBackend backend;

  FailureTest(DistributedBackend backend) {
    this.backend = backend;
  }

  private RankProcesses start(Duration timeout) throws IOException {
    return RankProcesses.start(
        RankMain.class, 3, List.of(Long.toString(timeout.toMillis()), backend.name()));
  }

  @Test
  void await_aRankIsKilled_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start(Duration.ofSeconds(60))) {
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
    try (RankProcesses ranks = start(Duration.ofSeconds(60))) {
      ranks.signal(0, "KILL");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }

  @Tag("slow")
  @Test
  void await_aRankIsStopped_theOthersNameIt() throws Exception {
    try (RankProcesses ranks = start(Duration.ofSeconds(25))) { // Starting has to fit as well.
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
    try (RankProcesses ranks = start(Duration.ofSeconds(25))) {
      ranks.signal(0, "STOP");

      assertThat(ranks.verdicts(0).values())
          .allSatisfy(line -> assertThat(line).startsWith("rank 0 (tp 0, dp 0, pp 0)"));
    }
  }
}
