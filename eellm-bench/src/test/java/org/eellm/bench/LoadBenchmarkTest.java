package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.eellm.bench.LoadBenchmark.Load;
import org.eellm.bench.LoadBenchmark.Outcome;
import org.eellm.bench.LoadBenchmark.Report;
import org.eellm.serve.ServeException;
import org.eellm.serve.TestServer;
import org.eellm.tensor.OneThread;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** A server under load, and the benchmark that puts it there. */
@ExtendWith(OneThread.class)
final class LoadBenchmarkTest {
  @TempDir private Path folder;

  private static LoadBenchmark.Options mixed(String url, int clients) {
    return new LoadBenchmark.Options(
        List.of(url), Optional.empty(), clients, Duration.ofSeconds(3), List.of(), 1, 0, 24, 1);
  }

  private static LoadBenchmark.Options arriving(List<String> urls, int maxTokens) {
    return new LoadBenchmark.Options(
        urls, Optional.empty(), 2, Duration.ofSeconds(2), List.of(0.5, 1.0), 4, 8, maxTokens, 1);
  }

  @Test
  void server_withManyClientsGoodAndBad_answersAllAndHoldsNothing() {
    try (TestServer server = TestServer.start(folder)) {
      Report report = LoadBenchmark.run(mixed(server.base(), 32)).getFirst();

      assertThat(report.isSound()).as(report.toString()).isTrue();
      assertThat(report.loads()).hasSize(1);
      Load load = report.loads().getFirst();
      assertThat(load.outcomes()).containsKeys(Outcome.TEXT, Outcome.LEFT, Outcome.REFUSED);
      assertThat(load.firstToken().p99()).isPositive();
      assertThat(load.wholeText().max()).isGreaterThanOrEqualTo(load.firstToken().p50());
      assertThat(report.held().orElseThrow().memoryAfter()).isPositive();
      server.awaitIdle();
    }
  }

  @Test
  void isSound_aTextThatDiffersOrARequestThatWaitsInVain_isNot() {
    assertThat(load(0, Outcome.TEXT, Outcome.TURNED_AWAY).isSound()).isTrue();
    assertThat(load(0.5, Outcome.TEXT, Outcome.TURNED_AWAY).isSound()).isFalse();
    for (Outcome outcome : List.of(Outcome.WRONG_TEXT, Outcome.WRONG_STATUS, Outcome.FAILED)) {
      assertThat(load(0, Outcome.TEXT, outcome).isSound()).as(outcome.toString()).isFalse();
    }
  }

  private static Load load(double share, Outcome... outcomes) {
    List<ServerClient.Answer> answers =
        Stream.of(outcomes).map(ServerClient.Answer::without).toList();
    return LoadBenchmark.load(share, 0, answers, _ -> 1);
  }

  @Test
  void run_withoutAServer_saysSo() {
    assertThatThrownBy(() -> LoadBenchmark.run(mixed("http://127.0.0.1:1", 1)))
        .isInstanceOf(ServeException.class)
        .hasMessageContaining("http://127.0.0.1:1 cannot be reached")
        .hasMessageContaining("start eellm serve there");
  }

  @Tag("slow")
  @Test
  void run_twoServers_tellsOfBothAtEachShare() {
    try (TestServer server = TestServer.start(folder)) {
      List<Report> reports = LoadBenchmark.run(arriving(List.of(server.base(), server.base()), 6));

      assertThat(reports).hasSize(2);
      for (Report report : reports) {
        assertThat(report.isSound()).as(report.toString()).isTrue();
        assertThat(report.loads()).extracting(Load::share).containsExactly(0.0, 0.5, 1.0);
        Load clients = report.loads().getFirst();
        assertThat(clients.requestsPerSecond()).isPositive();
        assertThat(clients.tokensPerSecond())
            .isCloseTo(6 * clients.requestsPerSecond(), within(1e-6));
        for (Load load : report.loads().subList(1, 3)) {
          assertThat(load.count(Outcome.TEXT)).isPositive();
          assertThat(load.requestsPerSecond())
              .isEqualTo(load.share() * clients.requestsPerSecond());
          assertThat(load.firstToken().p50()).isPositive();
          assertThat(load.firstToken().p99()).isGreaterThanOrEqualTo(load.firstToken().p50());
        }
      }
      server.awaitIdle();
    }
  }

  @Test
  void run_arrivalsThatAreRefused_saysSo() {
    try (TestServer server = TestServer.start(folder)) {
      assertThatThrownBy(() -> LoadBenchmark.run(arriving(List.of(server.base()), 100_000)))
          .isInstanceOf(ServeException.class)
          .hasMessageContaining("answers a single client with status 400");
    }
  }

  @Test
  void arrivalTimes_ofARate_comeAtItAndAtRandom() {
    List<Double> arrivalTimes = LoadBenchmark.arrivalTimes(50, 200, 7);
    assertThat(arrivalTimes)
        .isSorted()
        .hasSizeBetween(9_600, 10_400)
        .isEqualTo(LoadBenchmark.arrivalTimes(50, 200, 7));
    assertThat(LoadBenchmark.arrivalTimes(50, 200, 8)).isNotEqualTo(arrivalTimes);
    double squares = 0; // gaps of mean m that are exponential have a variance of m squared
    for (int i = 1; i < arrivalTimes.size(); i++) {
      double gap = arrivalTimes.get(i) - arrivalTimes.get(i - 1);
      squares += (gap - 0.02) * (gap - 0.02);
    }
    assertThat(squares / arrivalTimes.size()).isCloseTo(4e-4, within(4e-5));
  }
}
