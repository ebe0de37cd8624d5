package org.eellm.eval.sweep;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.eellm.config.HeadId;
import org.eellm.decode.request.DecodingMethod;
import org.eellm.decode.request.Request;
import org.eellm.decode.request.Result;
import org.eellm.decode.request.Result.FinishReason;
import org.eellm.decode.request.Result.Usage;
import org.eellm.decode.token.GeneratedToken;
import org.junit.jupiter.api.Test;

/** Times of a generator whose times are known. */
final class SweepRunTest {
  private static final GeneratedToken TOKEN =
      new GeneratedToken(7, HeadId.FINAL, 4, 1, 0, false, List.of());

  /** The full model takes 10 seconds to the first token, and 4 seconds on. */
  private static List<Result> generate(List<Request> requests) {
    return requests.stream()
        .map(
            request ->
                request.decoding() instanceof DecodingMethod.Speculative
                    ? result(10, 12)
                    : request.decoding().equals(DecodingMethod.full())
                        ? result(10, 14)
                        : result(2, 14))
        .toList();
  }

  private static Result result(double first, double all) {
    List<GeneratedToken> tokens = Stream.generate(() -> TOKEN).limit(3).toList();
    return new Result(tokens, FinishReason.LENGTH, new Usage(1, 0, 0, 0), 0, first, all);
  }

  /** What a prompt leaves for later makes its first token earlier, and the text no faster. */
  @Test
  void measure_promptsThatLeaveEarly_gainNothingAndLoseNothing() {
    SweepRun run =
        new SweepRun(SweepRunTest::generate, List.of(2), Set.of(), List.of(List.of(1)), 3);

    Sweep sweep =
        run.measure(List.of(SweepSetting.atThreshold(0.5), SweepSetting.speculative(2, 2, 0)), 2);

    assertThat(sweep.rows().getFirst().speedUp()).isCloseTo(1, within(1e-9));
    assertThat(sweep.rows().getLast().speedUp()).isCloseTo(2, within(1e-9));
    assertThat(sweep.rows().getLast().tokensPerSecond()).isCloseTo(1, within(1e-9));
    assertThat(sweep.fullTokensPerSecond()).isCloseTo(0.5, within(1e-9));
  }
}
