package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.eellm.bench.ArrivalBenchmark.Load;
import org.eellm.bench.ArrivalBenchmark.Report;
import org.eellm.serve.ServeException;
import org.eellm.serve.TestServer;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** Requests that arrive at random. */
@ExtendWith(OneThread.class)
final class ArrivalBenchmarkTest {
  @TempDir private Path folder;

  private static ArrivalBenchmark.Options options(List<String> urls, int longWords) {
    return new ArrivalBenchmark.Options(
        urls, Optional.empty(), 2, Duration.ofSeconds(2), List.of(0.5, 1.0), 4, longWords, 6, 1);
  }

  @Tag("slow")
  @Test
  void run_twoServers_tellsOfBothAtEachShare() {
    try (TestServer server = TestServer.start(folder)) {
      List<Report> reports =
          ArrivalBenchmark.run(options(List.of(server.base(), server.base()), 8));

      assertThat(reports).hasSize(2);
      for (Report report : reports) {
        assertThat(report.requestsPerSecond()).isPositive();
        assertThat(report.tokensPerSecond())
            .isCloseTo(6 * report.requestsPerSecond(), within(1e-6));
        assertThat(report.loads()).extracting(Load::share).containsExactly(0.5, 1.0);
        for (Load load : report.loads()) {
          assertThat(load.failed()).as(load.toString()).isZero();
          assertThat(load.requests()).isPositive();
          assertThat(load.requestsPerSecond()).isEqualTo(load.share() * report.requestsPerSecond());
          assertThat(load.firstToken().p50()).isPositive();
          assertThat(load.firstToken().p99()).isGreaterThanOrEqualTo(load.firstToken().p50());
        }
      }
      server.awaitIdle();
    }
  }

  @Test
  void run_requestsThatAreRefused_areCounted() {
    try (TestServer server = TestServer.start(folder)) {
      assertThatThrownBy(
              () ->
                  ArrivalBenchmark.run(
                      new ArrivalBenchmark.Options(
                          List.of(server.base()),
                          Optional.empty(),
                          1,
                          Duration.ofSeconds(1),
                          List.of(1.0),
                          4,
                          0,
                          100_000,
                          1)))
          .isInstanceOf(ServeException.class)
          .hasMessageContaining("answers a single client with status 400");
    }
  }

  @Test
  void moments_ofARate_comeAtItAndAtRandom() {
    List<Double> arrivalTimes = ArrivalBenchmark.arrivalTimes(50, 200, 7);
    assertThat(arrivalTimes)
        .isSorted()
        .hasSizeBetween(9_600, 10_400)
        .isEqualTo(ArrivalBenchmark.arrivalTimes(50, 200, 7));
    assertThat(ArrivalBenchmark.arrivalTimes(50, 200, 8)).isNotEqualTo(arrivalTimes);
    double squares = 0; // gaps of mean m that are exponential have a variance of m squared
    for (int i = 1; i < arrivalTimes.size(); i++) {
      double gap = arrivalTimes.get(i) - arrivalTimes.get(i - 1);
      squares += (gap - 0.02) * (gap - 0.02);
    }
    assertThat(squares / arrivalTimes.size()).isCloseTo(4e-4, within(4e-5));
  }
}
