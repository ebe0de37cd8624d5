package org.eellm.decode;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.eellm.distributed.RankProcesses;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Ranks as processes, of which one falls silent while they generate. */
@Timeout(300)
final class PipelineFailureTest {
  private static RankProcesses start(Duration timeout, int tp, int pp) throws IOException {
    return RankProcesses.start(
        GeneratingRank.class,
        tp * pp,
        List.of(Long.toString(timeout.toMillis()), Integer.toString(tp), Integer.toString(pp)));
  }

  @ParameterizedTest
  @CsvSource({
    "1, 3, 1, 'rank 1 (tp 0, dp 0, pp 1) has sent no heartbeat for'",
    "2, 1, 1, 'rank 1 (tp 1, dp 0, pp 0) has sent no heartbeat for'",
  })
  void generate_aRankIsKilled_theOthersNameIt(int tp, int pp, int killed, String verdict)
      throws Exception {
    try (RankProcesses ranks = start(Duration.ofSeconds(60), tp, pp)) {
      ranks.signal(killed, "KILL");
      Map<Integer, String> verdicts = ranks.verdicts(killed);

      assertThat(verdicts).hasSize(tp * pp - 1);
      // One that is late to notice may first hear of another that has failed, and why.
      assertThat(verdicts.values()).allSatisfy(line -> assertThat(line).contains(verdict));
    }
  }

  @Tag("slow")
  @Test
  void generate_aRankHangs_theOthersNameIt() throws Exception {
    Duration timeout = Duration.ofSeconds(45); // Starting has to fit as well.
    try (RankProcesses ranks = start(timeout, 1, 2)) {
      ranks.signal(1, "STOP");
      Map<Integer, String> verdicts = ranks.verdicts(1);

      assertThat(verdicts.values()).singleElement().asString().startsWith("rank 1 (tp ");
    }
  }
}
