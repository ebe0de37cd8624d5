package org.eellm.cli.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.StringWriter;
import org.eellm.cli.Commands;
import org.junit.jupiter.api.Test;

final class BenchPipelineCommandTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter err = new StringWriter();

  @Test
  void benchPipeline_aSingleRank_isRefusedBeforeTheModelIsRead() {
    int code = Commands.run(out, err, "bench", "pipeline", "--model", "nowhere", "--prompt", "a");

    assertThat(code).isEqualTo(2);
    assertThat(out.toString()).isEmpty();
    assertThat(err.toString())
        .startsWith("eellm: ")
        .contains("there is one rank to measure")
        .contains("--pp 2 --nproc 2");
  }
}
