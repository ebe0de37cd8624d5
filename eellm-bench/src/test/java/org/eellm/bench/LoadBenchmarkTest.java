package org.eellm.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.eellm.bench.LoadBenchmark.Report;
import org.eellm.serve.ServeException;
import org.eellm.serve.TestServer;
import org.eellm.tensor.Torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A server under load, and the benchmark that puts it there. */
final class LoadBenchmarkTest {
  @TempDir private Path folder;

  private static LoadBenchmark.Options options(String url, int clients) {
    return new LoadBenchmark.Options(url, Optional.empty(), clients, Duration.ofSeconds(3), 24, 1);
  }

  @Test
  void server_withManyClientsGoodAndBad_answersAllAndHoldsNothing() {
    int threads = Torch.threads();
    Torch.setThreads(1); // the model is tiny
    try (TestServer server = TestServer.start(folder)) {
      Report report = LoadBenchmark.run(options(server.base(), 32));

      assertThat(report.isSound()).as(report.toString()).isTrue();
      assertThat(report.texts()).isPositive();
      assertThat(report.left()).isPositive();
      assertThat(report.refused()).isPositive();
      assertThat(report.firstToken().p99()).isPositive();
      assertThat(report.memoryAfter()).isPositive();
      server.awaitIdle();
    } finally {
      Torch.setThreads(threads);
    }
  }

  @Test
  void run_withoutAServer_saysSo() {
    assertThatThrownBy(() -> LoadBenchmark.run(options("http://127.0.0.1:1", 1)))
        .isInstanceOf(ServeException.class)
        .hasMessageContaining("http://127.0.0.1:1 cannot be reached")
        .hasMessageContaining("start eellm serve there");
  }
}
