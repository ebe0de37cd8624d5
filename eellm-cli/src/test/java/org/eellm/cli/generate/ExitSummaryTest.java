package org.eellm.cli.generate;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.TreeMap;
import org.eellm.config.HeadId;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class ExitSummaryTest {
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "1 | 0.5 | 1 token in 0.50 s, 2.0 tokens/s while warming up; left at final head 100 %",
        "20 | 2 | 20 tokens in 2.00 s, 10.0 tokens/s; left at final head 100 %",
      })
  void line_ofAShortRun_saysThatItsSpeedIsNoneToGoBy(int tokens, double seconds, String begin) {
    TreeMap<HeadId, Long> shares = new TreeMap<>();
    shares.put(HeadId.FINAL, (long) tokens);

    assertThat(new ExitSummary(tokens, seconds, shares, 4, 0, 0).line(4)).startsWith(begin);
  }
}
