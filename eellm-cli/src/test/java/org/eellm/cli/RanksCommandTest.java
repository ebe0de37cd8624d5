package org.eellm.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.StringWriter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** {@code eellm ranks}, alone and with real processes. */
@Timeout(120)
final class RanksCommandTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  private int ranks(String... options) {
    String[] words = new String[options.length + 1];
    words[0] = "ranks";
    System.arraycopy(options, 0, words, 1, options.length);
    return Commands.run(out, err, words);
  }

  @Test
  void ranks_nproc_connectsProcessesAndPrintsNothingElse() throws Exception {
    assertThat(ranks("--nproc", "2", "--pp", "2", "--json")).as(err.toString()).isZero();

    assertThat(out.toString().lines()).hasSize(1);
    JsonNode report = new ObjectMapper().readTree(out.toString());
    assertThat(report.get("mesh").asText()).isEqualTo("tp 1 x dp 1 x pp 2");
    assertThat(report.get("ranks")).hasSize(2);
    assertThat(report.get("ranks").get(1).asText()).startsWith("rank 1 (tp 0, dp 0, pp 1)");
    assertThat(report.get("axes")).hasSize(1);
    assertThat(report.get("axes").get(0).get("axis").asText()).isEqualTo("pp");
    assertThat(report.get("axes").get(0).get("bytes_per_second").asDouble()).isPositive();
  }

  @Test
  void ranks_alone_isOneRank() {
    assertThat(ranks()).isZero();
    assertThat(out.toString())
        .startsWith("1 ranks, tp 1 x dp 1 x pp 1\nrank 0 (tp 0, dp 0, pp 0)  ");
  }

  @Test
  void ranks_meshThatDoesNotFit_startsNothing() {
    assertThat(ranks("--nproc", "3", "--tp", "2")).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .isEqualTo(
            "eellm: the mesh tp 2 x dp 1 x pp 1 has 2 ranks, but 3 are started; start 2, or any"
                + " multiple of tp x pp = 2 with another dp\n");
  }

  @Test
  void ranks_maxRestartsWithoutNproc_isWrongUse() {
    assertThat(ranks("--max-restarts", "1")).isEqualTo(2);
    assertThat(err.toString())
        .startsWith("eellm: --max-restarts: nothing to restart; give --nproc");
  }

  @Test
  void ranks_negativeMaxRestarts_isWrongUse() {
    assertThat(ranks("--nproc", "2", "--max-restarts", "-1")).isEqualTo(2);
    assertThat(err.toString()).startsWith("eellm: --max-restarts: -1 is negative; use 0 or more");
  }
}
